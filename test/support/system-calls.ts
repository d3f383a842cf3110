/** What strace tells of a process's files and connections, and whether what it stored was synced before it answered. */

/** A call in the order of the trace's lines: from the one where it begins to the one where it returns. */
interface SystemCall {
  readonly name: string;
  /** The path or connection behind the file descriptor that it is about (strace -y). */
  readonly subject: string;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly result: number;
}

/** How strace must be called for `unsyncedAnswers`; the program and its arguments follow. */
export function straceCommand(traceFile: string): string[] {
  const calls = [
    ...['read', 'readv', 'recvfrom', 'recvmsg'],
    ...['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'sendto', 'sendmsg'],
    ...['fsync', 'fdatasync', 'msync'],
  ];
  return ['strace', '-f', '-y', '-s', '100000', '-e', `trace=${calls.join()}`, '-e', 'signal=none', '-o', traceFile];
}

const LINE = /^(\d+) +(.*)$/;
const CALL = /^(\w+)\((?:\d+<([^>]*)>)?/;
const RESUMED = /^<\.\.\. (\w+) resumed>/;
const RESULT = /\) += (-?\d+)/;

/** Reads a trace of several threads, putting together the calls that others interrupt. */
export function readTrace(trace: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const begun = new Map<string, { text: string; start: number }>();
  for (const [line, wholeText] of trace.split('\n').entries()) {
    const [, thread = '', text = ''] = LINE.exec(wholeText) ?? [];
    if (text.endsWith('<unfinished ...>')) {
      begun.set(thread, { text, start: line });
      continue;
    }
    const isResumed = RESUMED.test(text);
    const first = isResumed ? begun.get(thread) : { text, start: line };
    const [, name = '', subject = ''] = CALL.exec(first?.text ?? '') ?? [];
    const result = Number(RESULT.exec(text.slice(-100))?.[1] ?? -1);
    if (first && name) {
      calls.push({ name, subject, text: isResumed ? first.text + text : text, start: first.start, end: line, result });
    }
  }
  return calls;
}

/**
 * Of messages that each hold their marker, in readable letters, those whose 202 was written before a sync of a file
 * that they were written to had returned.
 *
 * @returns a line of reason for each
 */
export function unsyncedAnswers(calls: readonly SystemCall[], markers: readonly string[]): string[] {
  const isSocket = ({ subject }: SystemCall) => /^(socket|TCP|TCPv6):/.test(subject);
  const receptions = calls.filter((call) => /^(read|recv)/.test(call.name) && isSocket(call));
  const answers = calls.filter(
    (call) => /write|send/.test(call.name) && isSocket(call) && call.text.includes('HTTP/1.1 202'),
  );
  const fileWrites = calls.filter((call) => /write/.test(call.name) && !isSocket(call) && call.subject.startsWith('/'));
  const syncs = calls.filter((call) => /sync$/.test(call.name) && call.result === 0);

  return markers.flatMap((marker) => {
    const reception = receptions.findLast((call) => call.text.includes(marker));
    if (!reception) {
      return [`${marker}: was not received`];
    }
    const answer = answers.find((call) => call.subject === reception.subject && call.start > reception.end);
    if (!answer) {
      return [`${marker}: was not answered 202`];
    }
    const written = fileWrites.filter((call) => call.text.includes(marker) && call.end < answer.start);
    if (written.length === 0) {
      return [`${marker}: was answered before it was written`];
    }
    const lastWrites = new Map(written.map((call) => [call.subject, call]));
    const isSynced = [...lastWrites.values()].some((write) =>
      syncs.some((sync) => sync.subject === write.subject && sync.start > write.end && sync.end < answer.start),
    );
    return isSynced ? [] : [`${marker}: was answered before a sync of ${[...lastWrites.keys()].join(', ')} returned`];
  });
}
