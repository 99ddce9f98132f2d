// What a shipment must be to be taken: the sender is the author, each record decodes, the ledger only grows. It judges nothing
// about TLS (door.ts) and owns no rows (store.ts).

import type { Clock } from '../host/clock.js'
import type { Request, Route } from '../host/http-server.js'
import type { Log } from '../host/log.js'
import type { Counter, Metrics } from '../host/metrics.js'
import { decodeRecord, encodeRecord, plainKey, type RecordKey } from '../mesh/audit-record.js'
import { asMeshError, MeshError } from '../mesh/errors.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'
import type { Svid } from '../mesh/svid.js'
import {
  linesOfShipment,
  readShipmentPlace,
  SHIP_MAX_BYTES,
  type ShipAck,
  type ShipmentPlace,
} from '../mesh/wire/audit.js'
import type { Delivery, Store } from './store.js'

export interface IngestOptions {
  readonly store: Store
  /** The judged author of a request. @throws MeshError PEER_* */
  readonly authorOf: (request: Request) => Svid
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Shipments in memory at once, of one author and of all: each may have SHIP_MAX_BYTES. */
const MAX_PER_AUTHOR = 2
const MAX_AT_ONCE = 16
const LEDGER_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function ingestRoutes({ store, authorOf, clock, log, metrics }: IngestOptions): Route[] {
  const taken = metrics.counter('troth_collector_records_total', 'Records taken into the store')
  const again = metrics.counter('troth_collector_replayed_total', 'Records sent again that were here already')
  const refused = openRefused(metrics)
  const turnstile = openTurnstile()

  const receive = async (request: Request): Promise<ShipAck> => {
    const { id: author } = authorOf(request)
    const ledgerId = ledgerOf(request)
    const leave = turnstile(author)
    try {
      const place = readShipmentPlace(request.query)
      const lines = linesOfShipment(await request.bytes())
      // A revocation may have come while the body did.
      authorOf(request)
      const delivery = deliveryOf(place, lines, { ledgerId, author, now: clock.now() })
      const { appended, nextSeq } = await store.appendShipment(delivery)
      taken.add(appended)
      again.add(delivery.records.length - appended)
      if (appended > 0) log.debug('shipment.taken', { author, ledgerId, appended, nextSeq })
      return { ledgerId, nextSeq }
    } catch (error) {
      refused(error)
      throw error
    } finally {
      leave()
    }
  }

  return [
    {
      method: 'GET',
      path: '/v1/ledgers/:ledgerId',
      answer: async (request) => {
        const { id } = authorOf(request)
        const ledgerId = ledgerOf(request)
        return { json: { ledgerId, nextSeq: await store.nextSeq(ledgerId, id) } satisfies ShipAck }
      },
    },
    {
      method: 'POST',
      path: '/v1/ledgers/:ledgerId/records',
      maxBytes: SHIP_MAX_BYTES,
      answer: async (request) => ({ json: await receive(request) }),
    },
  ]
}

function ledgerOf({ params }: Request): string {
  const ledgerId = params['ledgerId'] ?? ''
  if (!LEDGER_ID.test(ledgerId)) throw new MeshError('WIRE_MALFORMED', 'a ledger id must be a UUID')
  return ledgerId
}

/** @throws MeshError AUDIT_RECORD_INVALID naming the first record that does not decode */
function deliveryOf(
  { firstSeq, encoding }: ShipmentPlace,
  lines: readonly Buffer[],
  about: { ledgerId: string; author: SpiffeId; now: number },
): Delivery {
  return {
    ...about,
    firstSeq,
    records: lines.map((bytes, index) => ({
      key: plainKey(bytes, encoding) ?? strictKey(bytes, encoding, firstSeq + index),
      encoded: { encoding, bytes },
    })),
  }
}

function strictKey(bytes: Buffer, encoding: number, seq: number): RecordKey {
  const record = decodeRecord(bytes, encoding)
  // A key that stands twice has two values: SQLite takes the first, JSON.parse the last.
  if (!encodeRecord(record).equals(bytes))
    throw new MeshError('AUDIT_RECORD_INVALID', `record ${seq} is not in its one spelling`)
  // nobody but the CA says what was done at the CA, and it ships nothing
  if (record.kind === 'action')
    throw new MeshError('AUDIT_RECORD_INVALID', `record ${seq} is an action of the CA`)
  return record
}

/** Lets so many shipments in at once. @throws MeshError COLLECTOR_BUSY */
function openTurnstile(): (author: SpiffeId) => () => void {
  const inside = new Map<SpiffeId, number>()
  let all = 0
  return (author) => {
    const own = inside.get(author) ?? 0
    if (own >= MAX_PER_AUTHOR || all >= MAX_AT_ONCE)
      throw new MeshError('COLLECTOR_BUSY', 'too many shipments at once')
    inside.set(author, own + 1)
    all += 1
    return () => {
      all -= 1
      const left = (inside.get(author) ?? 1) - 1
      if (left === 0) inside.delete(author)
      else inside.set(author, left)
    }
  }
}

/** Counts refused shipments by code; codes are few. */
function openRefused(metrics: Metrics): (error: unknown) => void {
  const counters = new Map<string, Counter>()
  return (error) => {
    const { code } = asMeshError(error)
    const counter =
      counters.get(code) ??
      metrics.counter('troth_collector_refused_total', 'Shipments refused, by code', { code })
    counters.set(code, counter)
    counter.add(1)
  }
}
