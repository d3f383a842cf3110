/** What `npm run test:gcp` is given to work on: real services of Google's. Run as a program, it says what is missing. */

const MEANINGS = {
  GCP_TEST_BUCKET: 'an empty bucket',
  GCP_TEST_PROJECT: 'the project of the database',
  GCP_TEST_DATABASE: 'an empty database of Firestore',
  GCP_TEST_KEY_RING: 'a key ring, projects/…/locations/…/keyRings/…',
};

export type Setting = keyof typeof MEANINGS;

/** @throws Error in one line, when it is not set */
export function setting(name: Setting): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`Set ${name} (${MEANINGS[name]})`);
  }
  return value;
}

if (import.meta.main) {
  const missing = Object.entries(MEANINGS).filter(([name]) => !process.env[name]);
  if (missing.length > 0) {
    const wishes = missing.map(([name, meaning]) => `${name} (${meaning})`);
    console.error(`To test against Google's own services, set ${wishes.join(', ')}`);
    process.exitCode = 1;
  }
}
