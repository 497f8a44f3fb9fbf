import { render } from 'preact';
import { App } from './app';
import { followLinks } from './route';
import { applyTheme } from './ui/theme';

applyTheme();
followLinks();
const root = document.getElementById('app');
if (root !== null) render(<App />, root);
