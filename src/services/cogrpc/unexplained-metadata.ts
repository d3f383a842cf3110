/**
 * Trailing metadata for a status that goes without its text: there is no `grpc-message` at all, not even an empty one.
 *
 * Android's courier compares the status by identity with one that has no text, and only then deletes a CCA that was used
 * (protocol section 9). The library always writes the text, and then whatever metadata the status has, so that metadata
 * can take it out again: HTTP/2 leaves out headers that are undefined.
 */
import { Metadata } from '@grpc/grpc-js';

export class UnexplainedMetadata extends Metadata {
  override clone(): Metadata {
    return new UnexplainedMetadata(this.getOptions());
  }

  override toHttp2Headers(): ReturnType<Metadata['toHttp2Headers']> {
    return { 'grpc-message': undefined };
  }
}
