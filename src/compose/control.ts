/** What a gateway answers to the commands on its machine: the same whether it runs or only its stores are opened. */

import type { LocalBackends } from '../backends/local/local-backends.ts';
import type { Logger } from '../log.ts';
import { noteBackup } from '../services/control/backup-order.ts';
import type { ControlAnswers, ControlParameters } from '../services/control/control-socket.ts';
import { type RotationOptions, rotateCertificate, rotateKey } from '../services/control/identity-orders.ts';
import { reportIdentity } from '../services/control/identity-report.ts';
import { changePeer, listPeers } from '../services/control/peer-orders.ts';
import {
  dropParcels,
  listDestinations,
  type QueueParts,
  retryDestination,
  showDestination,
} from '../services/control/queue-orders.ts';
import { reportTrace } from '../services/control/trace-report.ts';
import type { Backends } from './backends.ts';
import type { Core } from './core.ts';

/** @param isAlone whether the stores were opened for one question, and no gateway runs */
export function controlAnswers(core: Core, log: Logger, isAlone = false): ControlAnswers {
  const { identity, connectionParams, backends, storage, peers } = core;
  const { journal } = backends;
  const queue: QueueParts = { storage, journal, log, givenUp: (name) => backends.givenUp(name) };
  return {
    'GET identity': () => reportIdentity(identity, connectionParams),
    'POST identity/rotate-certificate': (parameters) =>
      rotateCertificate(identity, rotationOptions(parameters), log, isAlone ? 0 : undefined),
    'POST identity/rotate-key': (parameters) => rotateKey(identity, rotationOptions(parameters), log),
    'GET trace': ({ id = '' }) => reportTrace(id, { journal, storage }),
    'GET peers': ({ only }) => listPeers(peers, only),
    'POST peers/allow': ({ id = '' }) => changePeer(peers, 'allow', id, log),
    'POST peers/block': ({ id = '' }) => changePeer(peers, 'block', id, log),
    'POST peers/unblock': ({ id = '' }) => changePeer(peers, 'unblock', id, log),
    'GET queue': () => listDestinations(queue),
    'GET queue/show': ({ destination = '' }) => showDestination(destination, queue),
    'POST queue/retry': ({ destination = '' }) => retryDestination(destination, queue),
    'POST queue/drop': ({ destination = '', parcel }) => dropParcels(destination, parcel, queue),
    'POST backup/done': (parameters) => noteBackup(backends.records, parameters),
    'GET store/verify': async () => storesOf(backends).examine(),
    'POST store/compact': async () => {
      const compaction = await storesOf(backends).compact();
      log.info(compaction, 'Stores compacted by order of the operator');
      return compaction;
    },
  };
}

function storesOf({ local }: Backends): LocalBackends {
  if (!local) {
    throw new Error('Nothing is kept in the data directory (OBJECT_STORE, RECORDS, KEYS and SIGNALS are elsewhere)');
  }
  return local;
}

function rotationOptions({ force, dryRun }: ControlParameters): RotationOptions {
  return { isForced: force === 'true', isDryRun: dryRun === 'true' };
}
