// Shipping of a ledger to the collector over mutual TLS: `GET /v1/ledgers/<ledgerId>` asks how far it got, `POST
// /v1/ledgers/<ledgerId>/records` continues it. Sending the same records again is harmless; a gap is refused.

import { integer, listOf, type Read, record, text } from '../parse.js'

export const SHIP_MAX_RECORDS = 500
export const SHIP_MAX_BYTES = 4 * 1024 * 1024

/** `firstSeq` is the sequence number of `records[0]`; the rest follow without a gap. `bytes` is base64 of the stored bytes. */
export const READ_SHIPMENT = record({
  firstSeq: integer(0),
  records: listOf(record({ encoding: integer(1, 255), bytes: text(65_536) }), SHIP_MAX_RECORDS),
})
export type Shipment = Read<typeof READ_SHIPMENT>

/** `nextSeq`: the sequence number the collector wants next; everything below is durable there. */
export const READ_SHIP_ACK = record({ ledgerId: text(36), nextSeq: integer(0) })
export type ShipAck = Read<typeof READ_SHIP_ACK>
