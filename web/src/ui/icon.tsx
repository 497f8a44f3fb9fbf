import type { JSX } from 'preact';

const PATHS = {
  sun: 'M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.700 1.400-1.400M4.900 19.100l1.400-1.400m11.400 0 1.400 1.400M4.900 4.900l1.400 1.400M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z',
  key: 'M8 19a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zm3.200-7.700L20 2.500m-4.500 4.500 3 3',
  play: 'M7 4.500v15l12-7.500z',
  stop: 'M6 6h12v12H6z',
  inbox: 'M3 13h5l1.500 3h5L16 13h5M5 5h14l2 8v6H3v-6z',
  warning: 'M12 4 2.500 20h19zM12 10v4m0 3v.1',
} as const;

export function Icon({ name, size = 18 }: { name: keyof typeof PATHS; size?: number }): JSX.Element {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
