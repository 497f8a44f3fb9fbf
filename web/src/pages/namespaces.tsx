// The sandbox of a running job as the kernel sees it.
import type { JSX } from 'preact';
import type { Job, Namespaces } from '../api/types';
import { bytes, count } from '../format';
import { usePoll } from '../ui/poll';

const REFRESH_MS = 1_000;

export function Kernel({ job }: { job: Job }): JSX.Element | null {
  const running = job.state === 'running';
  const { value } = usePoll<Namespaces>(running ? `/v1/jobs/${job.id}/namespaces` : undefined, REFRESH_MS);
  return running && value !== undefined ? <NamespacesCard value={value} /> : null;
}

function NamespacesCard({ value }: { value: Namespaces }): JSX.Element {
  return (
    <section class="card" aria-label="Namespaces and cgroup">
      <div class="head">
        <h2>Namespaces and cgroup</h2>
        <span class="muted small">slot {value.slot} · {bytes(value.memory_bytes)} · {count(value.processes_now, 'process', 'processes')}</span>
      </div>
      <div class="flush">
        <table class="stacking">
          <caption class="unseen">Namespaces</caption>
          <thead><tr><th>Namespace</th><th class="number">Inode</th><th class="number">Owner (user namespace)</th><th class="number">Made by uid</th><th class="number">Parent</th></tr></thead>
          <tbody>
            {value.namespaces.map((one) => (
              <tr key={one.type}>
                <td data-name="Namespace">{one.type}</td>
                <td data-name="Inode" class="number mono">{one.inode}</td>
                <td data-name="Owner" class="number mono">{one.owner ?? '–'}</td>
                <td data-name="Made by uid" class="number mono">{one.owner_uid ?? '–'}</td>
                <td data-name="Parent" class="number mono">{one.parent ?? '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class="body">
        <h3>Processes</h3>
        <ul class="stack-tight small">
          {value.processes.map((one) => <li key={one.pid} class="break"><span class="mono">{one.pid}</span> <span class="muted">(on the host {one.host_pid})</span> {one.name}</li>)}
          {value.processes_truncated && <li class="muted">and more</li>}
        </ul>
        <h3>Cgroups</h3>
        <ul class="stack-tight small">
          {value.cgroups.map((one) => <li key={one.path + one.controllers.join()} class="break"><span class="muted">{one.controllers.length === 0 ? 'all' : one.controllers.join(', ')}</span> <span class="mono">{one.path}</span></li>)}
        </ul>
      </div>
    </section>
  );
}
