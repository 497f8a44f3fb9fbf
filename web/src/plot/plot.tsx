// A chart over time.
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series {
  name: string;
  values: (number | null)[];
  /** A custom property of the theme. */
  colour: string;
}

export interface PlotProps {
  name: string;
  /** Seconds: since the Unix epoch, or since a beginning. */
  times: number[];
  series: Series[];
  show(value: number): string;
  clock?: boolean;
  height?: number;
}

const property = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function Plot({ name, times, series, show, clock = false, height = 160 }: PlotProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>();
  const [theme, setTheme] = useState(0);
  const data = [times, ...series.map((one) => one.values)] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const changed = (): void => setTheme((n) => n + 1);
    addEventListener('bailiff-theme', changed);
    return () => removeEventListener('bailiff-theme', changed);
  }, []);

  useEffect(() => {
    const element = host.current as HTMLDivElement;
    const axis: uPlot.Axis = { stroke: property('--muted'), grid: { stroke: property('--line'), width: 1 }, ticks: { stroke: property('--line') }, font: '12px system-ui' };
    const plot = new uPlot(
      {
        width: Math.max(200, element.clientWidth), height,
        cursor: { points: { size: 6 } },
        scales: { x: { time: clock }, y: { range: (_u, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
        axes: [
          clock ? axis : { ...axis, values: (_u, ticks) => ticks.map((tick) => `${tick} s`) },
          { ...axis, size: 70, space: 24, values: (_u, ticks) => ticks.map((tick) => show(tick)) },
        ],
        series: [
          clock ? {} : { label: 'Time', value: (_u, value) => (value === null ? '–' : `${value.toFixed(2)} s`) },
          ...series.map((one) => ({
            label: one.name, stroke: property(one.colour), width: 2, spanGaps: true, points: { show: false },
            value: (_u: uPlot, value: number | null) => (value === null ? '–' : show(value)),
          })),
        ],
      },
      latest.current,
      element,
    );
    chart.current = plot;
    const resized = new ResizeObserver(() => plot.setSize({ width: Math.max(200, element.clientWidth), height }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [theme, clock, height, series.map((one) => one.name).join()]);

  useEffect(() => chart.current?.setData(data), [times.length, times[times.length - 1], times[0]]);
  const last = series.map((one) => `${one.name} ${show(one.values[one.values.length - 1] ?? 0)}`).join(', ');
  return <div class="plot" ref={host} role="img" aria-label={`${name} over time. Now: ${last}`} />;
}
