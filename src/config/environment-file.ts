/**
 * Environment files as systemd reads them (systemd.exec(5), `EnvironmentFile=`): `NAME=value` a line, quoted or not,
 * comments after `#` or `;` at the start of a line, a backslash before the end of a line to go on in the next.
 */

/** A file as it was read: what it sets, or what is wrong with it. */
export interface EnvironmentFile {
  readonly values: ReadonlyMap<string, string>;
  /** Sentences, with the numbers of lines. */
  readonly faults: readonly string[];
}

const NAME = /^[A-Za-z_]\w*$/;

/** What a backslash makes literal within double quotes. */
const ESCAPED = '"\\$`';

/** Reads the whole text, whatever is wrong with it. */
export function readEnvironmentFile(text: string): EnvironmentFile {
  const values = new Map<string, string>();
  const faults: string[] = [];
  const reader = new Reader(text);
  while (!reader.atEnd) {
    const { line } = reader;
    const start = reader.peekLine().trim();
    if (start === '' || start.startsWith('#') || start.startsWith(';')) {
      reader.skipLine();
      continue;
    }
    const name = reader.name();
    if (name === undefined || !NAME.test(name)) {
      faults.push(`Line ${line} is not NAME=value`);
      reader.skipLine();
      continue;
    }
    const value = reader.value();
    if (value === undefined) {
      faults.push(`Line ${line} has a quote that is not closed`);
    } else if (values.has(name)) {
      faults.push(`Line ${line} sets ${name} once more`);
    } else {
      values.set(name, value);
    }
  }
  return { values, faults };
}

class Reader {
  private readonly text: string;
  private at = 0;
  line = 1;

  constructor(text: string) {
    this.text = text;
  }

  get atEnd(): boolean {
    return this.at >= this.text.length;
  }

  peekLine(): string {
    const end = this.text.indexOf('\n', this.at);
    return this.text.slice(this.at, end < 0 ? undefined : end);
  }

  skipLine(): void {
    this.at += this.peekLine().length;
    this.next();
  }

  /** What stands before the `=`, which it passes; undefined where the line has none. */
  name(): string | undefined {
    const end = this.peekLine().indexOf('=');
    if (end < 0) {
      return undefined;
    }
    const name = this.text.slice(this.at, this.at + end).trim();
    this.at += end + 1;
    return name;
  }

  /** Up to the end of the line, which it passes; undefined where a quote is not closed. */
  value(): string | undefined {
    let value = '';
    // What may be the white space at the end.
    let space = '';
    let mayQuote = true;
    while (!this.atEnd) {
      const character = this.next();
      if (character === '\n') {
        return value;
      }
      if (mayQuote && (character === "'" || character === '"')) {
        const quoted = this.quoted(character);
        if (quoted === undefined) {
          return undefined;
        }
        value += space + quoted;
        space = '';
      } else if (/\s/.test(character)) {
        space += value === '' ? '' : character;
      } else {
        mayQuote = false;
        value += space + (character === '\\' ? this.escaped() : character);
        space = '';
      }
    }
    return value;
  }

  private escaped(): string {
    const character = this.next();
    return character === '\n' ? '' : character;
  }

  private quoted(quote: string): string | undefined {
    let value = '';
    while (!this.atEnd) {
      const character = this.next();
      if (character === quote) {
        return value;
      }
      if (character === '\\' && quote === '"') {
        const escaped = this.next();
        value += ESCAPED.includes(escaped) ? escaped : escaped === '\n' ? '' : `\\${escaped}`;
      } else {
        value += character;
      }
    }
    return undefined;
  }

  private next(): string {
    const character = this.text[this.at++] ?? '';
    if (character === '\n') {
      this.line++;
    }
    return character;
  }
}
