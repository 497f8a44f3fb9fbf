// What a job's step used over its time, as looks at its cgroup tell: CPUs, memory, processes.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import type { Job } from '../api/types';
import { bytes, count } from '../format';
import { usePoll } from '../ui/poll';
import { Loading } from '../ui/states';

const Plot = lazy(() => import('../plot/plot').then((module) => module.Plot));
const REFRESH_MS = 1_000;

export interface UsageSample {
  wall_time_ms: number;
  cpu_time_ms: number;
  memory_bytes: number;
  processes: number;
}

/** CPUs in use between each look and the one before, the first since the beginning. */
export function cpusInUse(samples: UsageSample[]): number[] {
  return samples.map((one, i) => {
    const before = samples[i - 1] ?? { wall_time_ms: 0, cpu_time_ms: 0 };
    const passed = one.wall_time_ms - before.wall_time_ms;
    return passed > 0 ? Math.max(0, one.cpu_time_ms - before.cpu_time_ms) / passed : 0;
  });
}

/** Of the step that runs, or else of the last one that ran. */
export function UsageCard({ job, running }: { job: Job; running: { index: number; name: string } | undefined }): JSX.Element | null {
  const live = job.state === 'running';
  const index = (live ? running?.index : undefined) ?? job.steps.length - 1;
  const path = index < 0 || (job.state === 'finished' && job.steps.length === 0) ? undefined : `/v1/jobs/${job.id}/steps/${index}/usage`;
  const { value } = usePoll<{ samples: UsageSample[] }>(path, live ? REFRESH_MS : 0);
  const samples = value?.samples ?? [];
  if (samples.length < 2) return null;
  const times = samples.map((one) => one.wall_time_ms / 1000);
  const name = job.steps[index]?.name ?? running?.name;
  return (
    <section class="card" aria-label="Resource use">
      <div class="head"><h2>Resource use{name !== undefined && <> of {name}</>}</h2><span class="muted small">{count(samples.length, 'look')} at its cgroup</span></div>
      <div class="body">
        <Suspense fallback={<Loading what="the plots" />}>
          <Plot name="CPU" times={times} series={[{ name: 'CPUs', values: cpusInUse(samples), colour: '--a4' }]} show={(n) => n.toFixed(2)} height={120} />
          <Plot name="Memory" times={times} series={[{ name: 'Memory', values: samples.map((one) => one.memory_bytes), colour: '--a2' }]} show={bytes} />
          <Plot name="Processes" times={times} series={[{ name: 'Processes', values: samples.map((one) => one.processes), colour: '--a5' }]} show={(n) => String(Math.round(n))} height={120} />
        </Suspense>
      </div>
    </section>
  );
}
