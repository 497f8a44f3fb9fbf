// The limits that a form offers, in units that people think in.
import type { Limits } from '../api/types';

export interface LimitField {
  name: string;
  label: string;
  /** One of the form's units in the API's. */
  scale: number;
  step: string;
}

const MIB = 1024 * 1024;
export const LIMIT_FIELDS: readonly LimitField[] = [
  { name: 'cpu_time_ms', label: 'CPU time, s', scale: 1000, step: '0.1' },
  { name: 'wall_time_ms', label: 'Wall time, s', scale: 1000, step: '0.1' },
  { name: 'memory_bytes', label: 'Memory, MiB', scale: MIB, step: '1' },
  { name: 'processes', label: 'Processes', scale: 1, step: '1' },
  { name: 'output_bytes', label: 'Output, MiB', scale: MIB, step: '0.1' },
  { name: 'cpus', label: 'CPUs', scale: 1, step: '0.1' },
];

export const shownLimit = (field: LimitField, limits: Limits | undefined): string => {
  const value = limits?.[field.name];
  return value === undefined ? '' : String(Math.round((value / field.scale) * 100) / 100);
};

/** Only what was filled in. */
export function chosenLimits(entered: Record<string, string>): Limits {
  const limits: Limits = {};
  for (const field of LIMIT_FIELDS) {
    const number = Number.parseFloat(entered[field.name] ?? '');
    if (Number.isFinite(number)) limits[field.name] = field.name === 'cpus' ? number : Math.round(number * field.scale);
  }
  return limits;
}
