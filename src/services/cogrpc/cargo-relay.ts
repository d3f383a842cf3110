/**
 * The service CargoRelay (RS-008) as gRPC defines it, under the names that clients call it by.
 */
import type { handleBidiStreamingCall, MethodDefinition, ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import {
  type CargoDelivery,
  type CargoDeliveryAck,
  type OutgoingCargoDelivery,
  readCargoDelivery,
  readCargoDeliveryAck,
  writeCargoDelivery,
  writeCargoDeliveryAck,
} from './messages.ts';

/** The specification's name, and that of deployed clients (protocol section 1). */
export const CARGO_RELAY_NAMES = ['awala.cogrpc.CargoRelay', 'relaynet.cogrpc.CargoRelay'] as const;

export type DeliverCargoCall = ServerDuplexStream<CargoDelivery, CargoDeliveryAck>;
export type CollectCargoCall = ServerDuplexStream<CargoDeliveryAck, OutgoingCargoDelivery>;

/** What serves each call; one that is absent is answered UNIMPLEMENTED. A handler ends its call and never throws. */
export interface CargoRelay {
  readonly deliverCargo?: handleBidiStreamingCall<CargoDelivery, CargoDeliveryAck>;
  readonly collectCargo?: handleBidiStreamingCall<CargoDeliveryAck, OutgoingCargoDelivery>;
}

/** Of the service with one of `CARGO_RELAY_NAMES`; serves for clients in tests, too. */
export function cargoRelayDefinition(name: string) {
  return {
    deliverCargo: {
      path: `/${name}/DeliverCargo`,
      requestStream: true,
      responseStream: true,
      requestSerialize: writeCargoDelivery,
      requestDeserialize: readCargoDelivery,
      responseSerialize: writeCargoDeliveryAck,
      responseDeserialize: readCargoDeliveryAck,
    } satisfies MethodDefinition<CargoDelivery, CargoDeliveryAck>,
    collectCargo: {
      path: `/${name}/CollectCargo`,
      requestStream: true,
      responseStream: true,
      requestSerialize: writeCargoDeliveryAck,
      requestDeserialize: readCargoDeliveryAck,
      responseSerialize: writeCargoDelivery,
      responseDeserialize: readCargoDelivery,
    } satisfies MethodDefinition<CargoDeliveryAck, CargoDelivery>,
  } satisfies ServiceDefinition;
}
