// A Vite plugin: beside each file of the build a gzip of it, which bailiffd sends to who takes it, and a bound on what all of them weigh.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Plugin, ResolvedConfig } from 'vite';

/** Compressed, all files together: what a visitor loads who opens every page and every language. */
export const MAX_BUNDLE_BYTES = 400 * 1000;

const WORTH_COMPRESSING = /\.(?:html|js|css|svg|json|txt)$/;

function filesBelow(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

export function compressed(): Plugin {
  let config: ResolvedConfig;
  return {
    name: 'bailiff-compressed',
    apply: 'build',
    configResolved(resolved) {
      config = resolved;
    },
    closeBundle: {
      order: 'post',
      handler() {
        const root = join(config.root, relative(config.root, config.build.outDir));
        let total = 0;
        for (const path of filesBelow(root)) {
          const bytes = readFileSync(path);
          if (!WORTH_COMPRESSING.test(path)) {
            total += bytes.length;
            continue;
          }
          const packed = gzipSync(bytes, { level: 9 });
          total += packed.length;
          writeFileSync(`${path}.gz`, packed);
        }
        console.log(`all files, compressed: ${(total / 1000).toFixed(1)} kB of ${MAX_BUNDLE_BYTES / 1000} kB`);
        if (total > MAX_BUNDLE_BYTES) throw new Error('the bundle is larger than its bound');
      },
    },
  };
}
