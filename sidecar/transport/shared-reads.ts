// Reads of many sockets into one buffer. Node offers that for sockets from their first byte on (`onread`), not for those that it accepts, nor for
// TLS that is judged before a codec may hear of it; what it does there is done here with the same inner parts, when this Node has them. Where it has
// not, the socket emits 'data': some 10 % more CPU in small calls, and in TLS a third of it goes into garbage of 16 KB a record.

import type { Socket } from 'node:net'

/** As `onread` of net.connect. */
export interface SharedRead {
  readonly buffer: Buffer
  readonly callback: (length: number, buffer: Uint8Array) => boolean
}

/**
 * @param socket accepted with `pauseOnConnect`: nothing was read; or one of TLS: what was read before is still emitted. It is resumed
 * @returns false when this Node does not let it: listen for 'data'
 */
export function readInto(socket: Socket, { buffer, callback }: SharedRead): boolean {
  const symbols = Object.getOwnPropertySymbols(socket)
  const bufferKey = symbols.find(({ description }) => description === 'kBuffer')
  const callbackKey = symbols.find(({ description }) => description === 'kBufferCb')
  const handle: unknown = Reflect.get(socket, '_handle')
  const canShare = bufferKey !== undefined && callbackKey !== undefined && hasUserBuffer(handle)
  if (canShare) {
    Reflect.set(socket, bufferKey, buffer)
    Reflect.set(socket, callbackKey, callback)
    handle.useUserBuffer(buffer)
  }
  return canShare
}

interface Handle {
  useUserBuffer(buffer: unknown): void
}

const hasUserBuffer = (handle: unknown): handle is Handle =>
  typeof handle === 'object' &&
  handle !== null &&
  'useUserBuffer' in handle &&
  typeof handle.useUserBuffer === 'function'
