/** Bounds on calls of the cloud, as tests want them. */
import type { CallBounds } from '../../src/backends/gcp/calls.ts';

/** So long that a busy machine spoils nothing; milliseconds. */
export const PATIENT: CallBounds = { attempt: 20_000, total: 60_000 };

/** Patient, but for while a call is to fail in the end: no other may fail because the machine is slow. */
export class TestBounds implements CallBounds {
  attempt = PATIENT.attempt;
  total = PATIENT.total;

  drawIn(bounds: CallBounds = { attempt: 500, total: 1000 }): void {
    Object.assign(this, bounds);
  }

  letOut(): void {
    Object.assign(this, PATIENT);
  }
}
