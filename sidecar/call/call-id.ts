// Call ids: UUIDv7 (RFC 9562 §5.7), made by the caller's sidecar, the same in both ledgers; and the traces of calls that bring none, which
// bear the call's id (W3C Trace Context §3.2.2).

import { randomFillSync } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** Where the two digits of each octet of a UUID stand in its text. */
const OCTETS = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]
const TIME_OCTETS = 6
const RANDOM_OCTETS = 10
const PARENT_OCTETS = 8
const DIGITS = Buffer.from('0123456789abcdef')
/** Random octets that are drawn at once: one by one they would cost more than everything else here. */
const POOL_BYTES = 4096

const TRACE_ID_AT = 3
const PARENT_ID_AT = 36

/**
 * Makes ids and traces, as octets and then one string: put together from pieces, a string would be copied again wherever it is read. One an
 * identity.
 */
export class CallIds {
  readonly #pool = Buffer.allocUnsafeSlow(POOL_BYTES)
  #used = POOL_BYTES
  readonly #id = Buffer.from('00000000-0000-7000-8000-000000000000')
  /** Flag 01: we do record the call, in the ledger. */
  readonly #trace = Buffer.from(`00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`)
  #timeWritten = -1

  /** @param now ms since epoch */
  next(now: number): string {
    const id = this.#id
    if (now !== this.#timeWritten) this.#writeTime(now)
    const from = this.#draw(RANDOM_OCTETS)
    for (let nth = 0; nth < RANDOM_OCTETS; nth++) {
      let octet = this.#pool[from + nth] ?? 0
      if (nth === 0) octet = (octet & 0x0f) | 0x70
      else if (nth === 2) octet = (octet & 0x3f) | 0x80
      write(id, OCTETS[TIME_OCTETS + nth] ?? 0, octet)
    }
    return id.toString('latin1')
  }

  /** A traceparent: its trace is named by the call, its parent at random. */
  traceparent(callId: string): string {
    const trace = this.#trace
    let at = TRACE_ID_AT
    for (const octet of OCTETS) {
      trace[at++] = callId.charCodeAt(octet)
      trace[at++] = callId.charCodeAt(octet + 1)
    }
    const from = this.#draw(PARENT_OCTETS)
    for (let nth = 0; nth < PARENT_OCTETS; nth++)
      write(trace, PARENT_ID_AT + 2 * nth, (this.#pool[from + nth] ?? 0) | (nth === 0 ? 1 : 0))
    return trace.toString('latin1')
  }

  #writeTime(now: number): void {
    let rest = now
    for (let nth = TIME_OCTETS - 1; nth >= 0; nth--) {
      write(this.#id, OCTETS[nth] ?? 0, rest % 256)
      rest = Math.floor(rest / 256)
    }
    this.#timeWritten = now
  }

  /** @returns where in the pool so many octets stand that nobody has used */
  #draw(octets: number): number {
    if (this.#used + octets > POOL_BYTES) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const from = this.#used
    this.#used += octets
    return from
  }
}

function write(text: Buffer, at: number, octet: number): void {
  text[at] = DIGITS[octet >> 4] ?? 0
  text[at + 1] = DIGITS[octet & 0x0f] ?? 0
}

export const isCallId = (text: string): boolean => UUID_V7.test(text)

/** @throws MeshError CALL_ID_INVALID */
export function parseCallId(text: string): string {
  if (!isCallId(text)) throw new MeshError('CALL_ID_INVALID', 'the call id is not a UUIDv7')
  return text
}

/** When the id was made, ms since epoch, by its maker's clock. */
export function timeOfCallId(id: string): number {
  return hexAt(id, 0, 8) * 0x10000 + hexAt(id, 9, 4)
}

/** So many hexadecimal digits of a call id, eight at most, as a number. */
export function hexAt(id: string, from: number, digits: number): number {
  let value = 0
  for (let at = from; at < from + digits; at++) {
    const code = id.charCodeAt(at)
    value = (value << 4) | ((code & 0x0f) + 9 * (code >> 6))
  }
  return value >>> 0
}
