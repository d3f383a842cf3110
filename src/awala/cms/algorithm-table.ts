/**
 * Finds algorithms by their object identifiers.
 */
import { AwalaError } from '../errors.ts';

/**
 * The name in `table` of the algorithm with this identifier.
 *
 * @param kind what the table holds, for the refusal
 * @param identifier dotted
 * @throws AwalaError ALGORITHM_UNSUPPORTED when the table has none
 */
export function findAlgorithm<Name extends string>(
  table: Readonly<Record<Name, { readonly oid: string }>>,
  kind: string,
  identifier: string,
): Name {
  for (const name in table) {
    if (table[name].oid === identifier) {
      return name;
    }
  }
  throw new AwalaError('ALGORITHM_UNSUPPORTED', `${kind} ${identifier} is not one that RS-018 allows`);
}
