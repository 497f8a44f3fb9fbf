// What a verdict means, in words, with the figures that it rests on.
import { bytes, duration, signalName } from './format';
import type { Job, Limits, Part, Verdict } from './api/types';

export type Tone = 'good' | 'bad' | 'limit' | 'neutral' | 'ours';

const NAMES: Record<Verdict, [title: string, tone: Tone]> = {
  ok: ['Finished', 'good'],
  accepted: ['Accepted', 'good'],
  wrong_answer: ['Wrong answer', 'bad'],
  compile_error: ['Does not compile', 'bad'],
  runtime_error: ['Runtime error', 'bad'],
  time_limit_exceeded: ['Time limit exceeded', 'limit'],
  wall_time_limit_exceeded: ['Wall time limit exceeded', 'limit'],
  memory_limit_exceeded: ['Memory limit exceeded', 'limit'],
  output_limit_exceeded: ['Output limit exceeded', 'limit'],
  cancelled: ['Cancelled', 'neutral'],
  internal_error: ['Failed on our side', 'ours'],
};

export const verdictTitle = (verdict: Verdict): string => NAMES[verdict]?.[0] ?? verdict;
export const verdictTone = (verdict: Verdict): Tone => NAMES[verdict]?.[1] ?? 'neutral';

const SIGNAL_HINTS: Record<number, string> = {
  4: 'It executed something that is no instruction of this machine.',
  6: 'It ended itself: an assertion, an uncaught exception or a corrupted heap.',
  8: 'An integer was divided by zero, or overflowed in a division.',
  11: 'It touched memory that is not its own: a bad pointer, an index out of bounds, or a stack that is too deep.',
  31: 'It made a system call that the sandbox refuses.',
};

/** Those that there are: while a job runs, an earlier test may still be missing. */
export const present = <T>(parts: readonly (T | undefined)[]): T[] => parts.filter((part) => part !== undefined);

/** The step or test whose verdict became the job's. */
export function decisivePart(job: Job): Part | undefined {
  const [steps, tests] = [present<Part>(job.steps), present<Part>(job.tests)];
  const failed = [...steps, ...tests].find((part) => part.verdict !== 'ok' && part.verdict !== 'accepted');
  return failed ?? tests[tests.length - 1] ?? steps[steps.length - 1];
}

/** One or two sentences. `limits` are those that held for the part, where they are known. */
export function explain(verdict: Verdict, part: Part | undefined, limits: Limits = {}): string {
  const of = (value: number | undefined, show: (n: number) => string): string => (value === undefined ? '' : ` of ${show(value)}`);
  switch (verdict) {
    case 'ok':
      return 'The program ended by itself with exit code 0.';
    case 'accepted':
      return 'Every test was accepted.';
    case 'wrong_answer':
      return 'The program ended well, but what it printed is not what was expected.';
    case 'compile_error':
      return 'The compiler refused the program; what it said is below.';
    case 'time_limit_exceeded':
      return `It used up its CPU time${of(limits['cpu_time_ms'], duration)} and was stopped.`;
    case 'wall_time_limit_exceeded':
      return `It was still running after its wall time${of(limits['wall_time_ms'], duration)}. It may be waiting for input that does not come.`;
    case 'memory_limit_exceeded':
      return `It asked for more memory than its limit${of(limits['memory_bytes'], bytes)}, and the kernel ended it.`;
    case 'output_limit_exceeded':
      return `It printed more than its limit${of(limits['output_bytes'], bytes)}; what fitted was kept.`;
    case 'cancelled':
      return 'Somebody cancelled it.';
    case 'internal_error':
      return 'The server could not run it. This is never the program\u2019s doing; try again, and look at the server\u2019s log if it stays.';
    case 'runtime_error':
      return explainEnd(part);
  }
  return '';
}

function explainEnd(part: Part | undefined): string {
  if (part?.signal !== null && part?.signal !== undefined)
    return `It was ended by ${signalName(part.signal)}. ${SIGNAL_HINTS[part.signal] ?? ''}`.trim();
  if (part?.exit_code !== null && part?.exit_code !== undefined) return `It ended with exit code ${part.exit_code}.`;
  return 'It could not be started.';
}
