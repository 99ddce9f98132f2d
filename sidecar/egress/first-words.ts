// What an ingress says that turns a connection away: a plain HTTP/1.1 answer with the reason in `troth-call`, whatever protocol was asked
// for. Read up to a bound; it is never more than the text of an error.

import { MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import { parseReply, TROTH_CALL } from '../call/troth-call.js'

/** No frame of SETTINGS that we take begins like this: it would be 4 MiB long. */
const FIRST_OCTET = 'H'.charCodeAt(0)
const LARGEST_HEAD = 8192

export const isRefusal = (bytes: Buffer): boolean => bytes[0] === FIRST_OCTET

export class Refusal {
  readonly #callee: SpiffeId
  #head = ''

  constructor(callee: SpiffeId) {
    this.#callee = callee
  }

  /** @returns CALLEE_REFUSED, when its head is whole or too long */
  feed(bytes: Buffer): MeshError | undefined {
    this.#head += bytes.toString('latin1', 0, LARGEST_HEAD)
    return this.#head.includes('\r\n\r\n') || this.#head.length >= LARGEST_HEAD ? this.error() : undefined
  }

  /** What is known, when no more comes. */
  error(): MeshError {
    return new MeshError('CALLEE_REFUSED', `${this.#callee} refused the connection: ${this.#reason()}`)
  }

  #reason(): string {
    const [head = ''] = this.#head.split('\r\n\r\n')
    const values = head
      .split('\r\n')
      .filter((line) => line.toLowerCase().startsWith(`${TROTH_CALL}:`))
      .map((line) => line.slice(TROTH_CALL.length + 1).trim())
    try {
      return parseReply(values.flatMap((value) => [TROTH_CALL, value]))?.denied ?? 'no reason'
    } catch {
      return 'its reason is malformed'
    }
  }
}
