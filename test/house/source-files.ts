/** The project's source files, and what the house's rules need to know of their text. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface SourceFile {
  /** Relative to the project's root, with slashes. */
  readonly path: string;
  readonly text: string;
}

export const projectRoot = path.resolve(import.meta.dirname, '../..');

/** All files that match, e.g. `src/**` + `/*.ts`. */
export function sourceFiles(pattern: string): SourceFile[] {
  return globSync(pattern, { cwd: projectRoot })
    .sort()
    .map((file) => ({ path: file, text: readFileSync(path.join(projectRoot, file), 'utf8') }));
}

/** The text without its comments; as our formatter lays them out, not as any JavaScript may have them. */
export function withoutComments(text: string): string {
  return text.replaceAll(/^[ \t]*\/\*[\s\S]*?\*\//gm, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}

/** What a file imports, statically or not, values or types; relative ones as paths from the project's root. */
export function importsOf(file: SourceFile): string[] {
  const specifiers = withoutComments(file.text).matchAll(/\b(?:from\s*|import\s*\(?\s*)(['"`])([^'"`\n]+)\1/g);
  return [...specifiers].map(([, , specifier = '']) =>
    specifier.startsWith('.') ? path.posix.join(path.posix.dirname(file.path), specifier) : specifier,
  );
}
