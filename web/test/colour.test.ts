import { describe, expect, it } from 'vitest';
import { contrast, DARK, LEAST_CONTRAST, LIGHT, readable } from '../src/ansi/colour';
import type { Rgb } from '../src/ansi/screen';

describe('colours of a program', () => {
  it('can be read in both themes, whatever they are', () => {
    for (let red = 0; red <= 255; red += 51)
      for (let green = 0; green <= 255; green += 51)
        for (let blue = 0; blue <= 255; blue += 51)
          for (const background of [LIGHT, DARK]) {
            const colour: Rgb = [red, green, blue];
            expect(contrast(readable(colour, background), background)).toBeGreaterThanOrEqual(LEAST_CONTRAST);
          }
  });
  it('stay as they are where they can be read', () => {
    expect(readable([160, 0, 0], LIGHT)).toEqual([160, 0, 0]);
    expect(readable([255, 200, 120], DARK)).toEqual([255, 200, 120]);
  });
  it('are measured as WCAG does', () => {
    expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 5);
    expect(contrast([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 2);
  });
});
