/** The settings as a file that systemd and shells read the same: `NAME=value` lines (systemd.exec(5)). */

/** What both read as it stands, without quotes. */
const PLAIN = /^[\w.,:/@%+=[\]-]*$/;

/** A value that would need quotes, in which the two differ. */
export class UnquotableError extends Error {
  override readonly name = 'UnquotableError';
}

/**
 * @param values by variable, in the order in which they are to stand; empty ones are left out
 * @throws UnquotableError
 */
export function settingsText(values: ReadonlyMap<string, string>): string {
  const lines = [...values]
    .filter(([, value]) => value !== '')
    .map(([variable, value]) => {
      if (!PLAIN.test(value)) {
        throw new UnquotableError(`${variable} has a character that would need quotes`);
      }
      return `${variable}=${value}`;
    });
  return `# After a change: systemctl restart relay-gateway. All settings are explained in docs/operate.md.\n${lines.join('\n')}\n`;
}
