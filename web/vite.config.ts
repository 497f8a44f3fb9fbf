import { defineConfig } from 'vite';
import { compressed } from './build/compress';

const server = process.env['BAILIFF_SERVER'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [compressed()],
  build: {
    target: 'es2022',
    outDir: process.env['WEB_OUT'] ?? 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0, // a data: URL would need a wider Content-Security-Policy
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  server: {
    proxy: {
      '/v1': { target: server, ws: true },
      '/openapi.json': server,
      '/metrics': server,
    },
  },
});
