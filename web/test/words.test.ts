import { describe, expect, it } from 'vitest';
import { ago, bytes, duration } from '../src/format';
import { limitsOf } from '../src/limits';
import { words } from '../src/pages/draft';
import { chosenLimits } from '../src/pages/limit_fields';
import { parseRoute } from '../src/route';
import { explain } from '../src/verdict';
import { cpusInUse } from '../src/pages/usage';
import type { Language, Part, System } from '../src/api/types';

const part = (more: Partial<Part>): Part => ({
  name: 'run', verdict: 'runtime_error', exit_code: null, signal: null, cpu_time_ms: 1, wall_time_ms: 1, memory_peak_bytes: 1, ...more,
});

describe('figures', () => {
  it('are in units that fit', () => {
    expect([0, 1023, 1024, 1536, 3_612_672, 512 * 1024 * 1024].map(bytes)).toEqual(['0 B', '1023 B', '1 KiB', '1.5 KiB', '3.4 MiB', '512 MiB']);
    expect([0.05, 12.418, 350, 1500, 10_000, 61_000, 7_500_000].map(duration)).toEqual(['0.05 ms', '12.4 ms', '350 ms', '1.5 s', '10 s', '1 min 1 s', '2 h 5 min']);
    expect([100_000, 600_000].map((ms) => duration(ms))).toEqual(['1 min 40 s', '10 min 0 s']);
  });
  it('tell how long ago', () => {
    const now = Date.parse('2030-01-01T00:01:00Z');
    expect(ago('2030-01-01T00:00:58Z', now)).toBe('just now');
    expect(ago('2030-01-01T00:00:10Z', now)).toBe('50 s ago');
    expect(ago('2029-12-31T23:00:00Z', now)).toBe('1 h ago');
  });
  it('tell the CPUs in use between two looks', () => {
    const look = (wall_time_ms: number, cpu_time_ms: number) => ({ wall_time_ms, cpu_time_ms, memory_bytes: 1, processes: 1 });
    expect(cpusInUse([look(250, 125), look(500, 625), look(500, 625), look(1000, 625)])).toEqual([0.5, 2, 0, 0]);
    expect(cpusInUse([])).toEqual([]);
  });
});

describe('addresses', () => {
  it('lead to pages', () => {
    expect(parseRoute('/')).toEqual({ page: 'playground' });
    expect(parseRoute('/', '?from=x')).toEqual({ page: 'playground', from: 'x' });
    expect(parseRoute('/jobs/')).toEqual({ page: 'jobs' });
    expect(parseRoute('/jobs/01abc')).toEqual({ page: 'job', id: '01abc' });
    expect(parseRoute('/system')).toEqual({ page: 'system' });
    expect(parseRoute('/v1/jobs')).toEqual({ page: 'nowhere' });
  });
});

describe('arguments', () => {
  it('are taken apart as a shell does', () => {
    expect(words(`a  "b c" 'd "e"' f\\ g "h\\"i" j'k'`)).toEqual(['a', 'b c', 'd "e"', 'f g', 'h"i', 'jk']);
    expect(words('  ')).toEqual([]);
  });
});

describe('limits', () => {
  const system = { limits: { default: { cpu_time_ms: 10_000, memory_bytes: 512 }, compile_default: { cpu_time_ms: 30_000 }, ceiling: {} } } as unknown as System;
  const language = { compile: ['g++'], limits: { memory_bytes: 1024 } } as unknown as Language;
  it('come from what is nearest to the part', () => {
    const job = { steps: [part({ name: 'compile' }), part({ name: 'run' })] };
    const request = { language: 'cpp', limits: { cpu_time_ms: 500 }, tests: [{ name: 'a', limits: { cpu_time_ms: 7 } }] };
    expect(limitsOf('steps', 0, job, request, language, system)).toEqual({ cpu_time_ms: 30_000 });
    expect(limitsOf('steps', 1, job, request, language, system)).toEqual({ cpu_time_ms: 500, memory_bytes: 1024 });
    expect(limitsOf('tests', 0, job, request, language, system)).toEqual({ cpu_time_ms: 7, memory_bytes: 1024 });
  });
  it('of a form are sent in the units of the API, and only those that were filled in', () => {
    expect(chosenLimits({ cpu_time_ms: '0.5', memory_bytes: '64', cpus: '1.5', processes: '', output_bytes: 'x' })).toEqual({ cpu_time_ms: 500, memory_bytes: 64 * 1024 * 1024, cpus: 1.5 });
  });
});

describe('verdicts', () => {
  it('are told in words, with their figures', () => {
    expect(explain('time_limit_exceeded', part({}), { cpu_time_ms: 10_000 })).toContain('of 10 s');
    expect(explain('runtime_error', part({ signal: 11 }))).toContain('SIGSEGV');
    expect(explain('runtime_error', part({ exit_code: 3 }))).toBe('It ended with exit code 3.');
    expect(explain('runtime_error', part({}))).toBe('It could not be started.');
  });
});
