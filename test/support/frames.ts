/** The WebSocket frames (RFC 6455) that a server sends, as they pass on the wire. */
import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

export interface Frame {
  readonly opcode: number;
  readonly isLast: boolean;
  /** Octets of the payload. */
  readonly length: number;
}

/** Collects the frames that come over a client's connection; call before it is open. */
export function tapFrames(socket: WebSocket): Frame[] {
  const frames: Frame[] = [];
  let pending = Buffer.alloc(0);
  socket.once('upgrade', ({ socket: connection }: IncomingMessage) => {
    // Not before the client listens, too: it would miss what came with the answer to its request.
    socket.once('open', () => {
      connection.on('data', (chunk: Buffer) => {
        pending = Buffer.concat([pending, chunk]);
        for (let frame = readFrame(pending); frame; frame = readFrame(pending)) {
          frames.push(frame);
          pending = pending.subarray(frame.end);
        }
      });
    });
  });
  return frames;
}

function readFrame(octets: Buffer): (Frame & { end: number }) | undefined {
  if (octets.length < 2) {
    return undefined;
  }
  const first = octets.readUInt8(0);
  const short = octets.readUInt8(1);
  const start = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (octets.length < start) {
    return undefined;
  }
  const length = short < 126 ? short : short === 126 ? octets.readUInt16BE(2) : Number(octets.readBigUInt64BE(2));
  const end = start + length;
  return octets.length < end ? undefined : { opcode: first & 0x0f, isLast: first >= 0x80, length, end };
}
