// Which limits hold for a part of a job: the server's, under the language's, under the job's, under the step's or test's.
import type { Job, JobRequest, Language, Limits, System } from './api/types';

export function limitsOf(
  kind: 'steps' | 'tests',
  index: number,
  job: Pick<Job, 'steps'>,
  request: JobRequest | undefined,
  language: Language | undefined,
  system: System | undefined,
): Limits {
  const compiles = language?.compile !== null && language?.compile !== undefined;
  const own = (kind === 'tests' ? request?.tests : request?.steps)?.[index]?.limits ?? {};
  if (kind === 'steps' && compiles && request?.language !== undefined && index === 0 && job.steps[0]?.name === 'compile')
    return system?.limits.compile_default ?? {};
  return { ...(system?.limits.default ?? {}), ...(language?.limits ?? {}), ...(request?.limits ?? {}), ...own };
}
