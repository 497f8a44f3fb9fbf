// Memory and processes of a running job over time, as its cgroup has them whenever the page looks. It begins when the page is opened.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import { bytes, count } from '../format';
import { Loading } from '../ui/states';

const Plot = lazy(() => import('../plot/plot').then((module) => module.Plot));
const MAX_SAMPLES = 3_600;

export interface Sample {
  /** Since the job's start. */
  seconds: number;
  memory_bytes: number;
  processes: number;
}

/** The samples with one more; where there are too many, every second of the older half goes. */
export function sampled(samples: Sample[], next: Sample): Sample[] {
  const last = samples[samples.length - 1];
  if (last !== undefined && next.seconds <= last.seconds) return samples;
  if (samples.length < MAX_SAMPLES) return [...samples, next];
  const half = samples.length / 2;
  return [...samples.filter((_one, i) => i >= half || i % 2 === 0), next];
}

export function UsageCard({ samples }: { samples: Sample[] }): JSX.Element | null {
  if (samples.length < 2) return null;
  const times = samples.map((sample) => sample.seconds);
  return (
    <section class="card" aria-label="Resource use">
      <div class="head"><h2>Resource use</h2><span class="muted small">{count(samples.length, 'look')} at its cgroup, since this page was opened</span></div>
      <div class="body">
        <Suspense fallback={<Loading what="the plots" />}>
          <Plot name="Memory" times={times} series={[{ name: 'Memory', values: samples.map((one) => one.memory_bytes), colour: '--a2' }]} show={bytes} />
          <Plot name="Processes" times={times} series={[{ name: 'Processes', values: samples.map((one) => one.processes), colour: '--a5' }]} show={(n) => String(Math.round(n))} height={120} />
        </Suspense>
      </div>
    </section>
  );
}
