import { render } from 'preact';
import { App } from './app';
import { followLinks } from './route';
import { noticeStaleParts } from './ui/stale';
import { applyTheme } from './ui/theme';

noticeStaleParts();
applyTheme();
followLinks();
const root = document.getElementById('app');
if (root !== null) render(<App />, root);
