// Shipping of a ledger to the collector over mutual TLS: `GET /v1/ledgers/<ledgerId>` asks how far it got, `POST
// /v1/ledgers/<ledgerId>/records?firstSeq=&encoding=` continues it. Sending the same records again is harmless; a gap is refused.

import { MeshError } from '../errors.js'
import { integer, type Read, record, text } from '../parse.js'

export const SHIP_MAX_RECORDS = 2000
export const SHIP_MAX_BYTES = 4 * 1024 * 1024
/** Of one record. */
export const SHIP_MAX_LINE_BYTES = 48 * 1024

/** The body of a shipment: the stored bytes of one record a line, without a line end behind the last. */
export const SHIPMENT_TYPE = 'application/x-ndjson'

/** Where a shipment stands: `firstSeq` is the sequence number of its first line; the rest follow without a gap, all of one encoding. */
export interface ShipmentPlace {
  readonly firstSeq: number
  readonly encoding: number
}

export const formatShipmentPlace = ({ firstSeq, encoding }: ShipmentPlace): string =>
  `firstSeq=${firstSeq}&encoding=${encoding}`

/** @throws MeshError WIRE_MALFORMED */
export function readShipmentPlace(query: URLSearchParams): ShipmentPlace {
  const number = (name: string, pattern: RegExp): number => {
    const [value = '', ...more] = query.getAll(name)
    if (more.length > 0 || !pattern.test(value))
      throw new MeshError('WIRE_MALFORMED', `shipment: ${name} is not one number`)
    return Number(value)
  }
  return { firstSeq: number('firstSeq', /^\d{1,15}$/), encoding: number('encoding', /^[1-9]\d{0,2}$/) }
}

const LINE_END = 0x0a

/**
 * The records of a shipment's body, not copied.
 * @throws MeshError WIRE_MALFORMED when they are too many, or one is too large
 */
export function linesOfShipment(body: Buffer): Buffer[] {
  const lines: Buffer[] = []
  let end = body.length === 0 ? 0 : -1
  while (end < body.length) {
    const from = end + 1
    const found = body.indexOf(LINE_END, from)
    end = found < 0 ? body.length : found
    if (lines.length === SHIP_MAX_RECORDS || end - from > SHIP_MAX_LINE_BYTES)
      throw new MeshError('WIRE_MALFORMED', 'shipment: too many records, or one too large')
    lines.push(body.subarray(from, end))
  }
  return lines
}

/** `nextSeq`: the sequence number the collector wants next; everything below is durable there. */
export const READ_SHIP_ACK = record({ ledgerId: text(36), nextSeq: integer(0) })
export type ShipAck = Read<typeof READ_SHIP_ACK>
