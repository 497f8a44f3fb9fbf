// A program's own colours, made legible: text has a contrast of at least 4.5 to 1 (WCAG 2.1, 1.4.3) in the light and in the dark theme.
import type { Rgb } from './screen';

export const LIGHT: Rgb = [251, 252, 254]; // --code-bg of each theme
export const DARK: Rgb = [20, 24, 35];
export const LEAST_CONTRAST = 4.5;
const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
const STEPS = 24;

export const css = ([red, green, blue]: Rgb): string => `rgb(${red}, ${green}, ${blue})`;

function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as unknown as Rgb;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

export function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

/** The colour, moved towards black or white until it can be read on `background`. */
export function readable(colour: Rgb, background: Rgb): Rgb {
  const goal = contrast(BLACK, background) > contrast(WHITE, background) ? BLACK : WHITE;
  for (let step = 0; step <= STEPS; ++step) {
    const mixed = colour.map((value, i) => Math.round(value + ((goal[i] as number) - value) * (step / STEPS))) as unknown as Rgb;
    if (contrast(mixed, background) >= LEAST_CONTRAST) return mixed;
  }
  return goal;
}

export const legible = (colour: Rgb): string => `light-dark(${css(readable(colour, LIGHT))}, ${css(readable(colour, DARK))})`;
export const textOn = (background: Rgb): string => css(contrast(BLACK, background) >= contrast(WHITE, background) ? BLACK : WHITE);
