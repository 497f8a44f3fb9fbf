// CPU, memory and processes of a job over time, sampled from its cgroup.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { json } from '../api/client';
import type { Job } from '../api/types';
import { bytes } from '../format';
import { Loading } from '../ui/states';

const Plot = lazy(() => import('../plot/plot').then((module) => module.Plot));
const REFRESH_MS = 1_000;

/** One moment. Times since the job's start; CPU time summed up to it, over all steps. */
export interface Sample {
  time_ms: number;
  cpu_time_ms: number;
  memory_bytes: number;
  processes: number;
}

/** Sampled totals as a rate: CPUs in use between one sample and the next. */
export function cpusOf(samples: Sample[]): (number | null)[] {
  return samples.map((sample, i) => {
    const before = samples[i - 1];
    if (before === undefined || sample.time_ms <= before.time_ms) return null;
    return Math.max(0, (sample.cpu_time_ms - before.cpu_time_ms) / (sample.time_ms - before.time_ms));
  });
}

export function UsageCard({ job }: { job: Job }): JSX.Element | null {
  const [samples, setSamples] = useState<Sample[]>([]);
  useEffect(() => {
    if (job.state === 'queued') return;
    let current = true;
    let timer = 0;
    const read = async (): Promise<void> => {
      try {
        const answer = await json<{ items: Sample[] }>(`/v1/jobs/${job.id}/usage`);
        if (!current) return;
        setSamples(answer.items);
        if (job.state === 'running') timer = window.setTimeout(() => void read(), REFRESH_MS);
      } catch {
        // A server that samples nothing, or a job too short for it: there is no plot.
      }
    };
    void read();
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [job.id, job.state]);
  if (samples.length < 2) return null;
  const times = samples.map((sample) => sample.time_ms / 1000);
  return (
    <section class="card" aria-label="Resource use">
      <div class="head"><h2>Resource use</h2><span class="muted small">{samples.length} samples of its cgroup</span></div>
      <div class="body">
        <Suspense fallback={<Loading what="the plots" />}>
          <Plot name="CPU" times={times} series={[{ name: 'CPUs in use', values: cpusOf(samples), colour: '--a12' }]} show={(n) => n.toFixed(2)} />
          <Plot name="Memory" times={times} series={[{ name: 'Memory', values: samples.map((one) => one.memory_bytes), colour: '--a2' }]} show={bytes} />
          <Plot name="Processes" times={times} series={[{ name: 'Processes', values: samples.map((one) => one.processes), colour: '--a5' }]} show={(n) => String(Math.round(n))} height={120} />
        </Suspense>
      </div>
    </section>
  );
}
