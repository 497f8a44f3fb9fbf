import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { keep, readKept } from '../api/kept';
import { Icon } from './icon';

const NAME = 'bailiff.theme';
export type Theme = 'light' | 'dark';

const systemTheme = (): Theme => (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');

export function currentTheme(): Theme {
  const chosen = readKept('local', NAME);
  return chosen === 'light' || chosen === 'dark' ? chosen : systemTheme();
}

/** The system's theme until one is chosen here. */
export function applyTheme(): void {
  const apply = (): void => {
    document.documentElement.dataset['theme'] = currentTheme();
    dispatchEvent(new Event('bailiff-theme'));
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  apply();
}

export function ThemeButton(): JSX.Element {
  const [theme, setTheme] = useState(currentTheme());
  const other: Theme = theme === 'dark' ? 'light' : 'dark';
  const toggle = (): void => {
    keep('local', NAME, other);
    document.documentElement.dataset['theme'] = other;
    dispatchEvent(new Event('bailiff-theme'));
    setTheme(other);
  };
  return (
    <button type="button" class="plain" onClick={toggle} aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`}>
      <Icon name={theme === 'dark' ? 'sun' : 'moon'} />
    </button>
  );
}
