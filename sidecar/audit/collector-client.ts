// The way to the collector: one mutual TLS connection, made anew when the identity or the world changes. Node's verification is on,
// and the judge must find exactly the collector that the CA's feed names.

import { X509Certificate } from 'node:crypto'
import https from 'node:https'
import type { DetailedPeerCertificate } from 'node:tls'
import type { EncodedRecord } from '../../host/audit-layout.js'
import type { Clock } from '../../host/clock.js'
import { requestJson, type Target } from '../../host/http-client.js'
import { TLS_FLOOR } from '../../host/tls.js'
import type { World, WorldHolder } from '../../member/control/world.js'
import type { Credentials } from '../../member/identity/credentials.js'
import { isMeshError } from '../../mesh/errors.js'
import { meaningOf, type SpiffeId } from '../../mesh/spiffe-id.js'
import { verifyPeer } from '../../mesh/verify-peer.js'
import { READ_SHIP_ACK, type Shipment } from '../../mesh/wire/audit.js'
import type { Endpoint } from '../../mesh/wire/feed.js'

export interface CollectorClient {
  /** False: the feed names no collector. */
  isKnown(): boolean
  /** How far the collector has this ledger. @throws MeshError COLLECTOR_UNREACHABLE, or what it answered */
  nextSeq(ledgerId: string): Promise<number>
  /** @returns the sequence number it wants next. @throws MeshError COLLECTOR_UNREACHABLE, or what it answered */
  ship(ledgerId: string, firstSeq: number, records: readonly EncodedRecord[]): Promise<number>
  /** Ends what is under way and what waits; nothing can be asked afterwards. */
  close(): void
}

export interface CollectorClientOptions {
  readonly credentials: Credentials
  readonly world: WorldHolder
  readonly clock: Clock
}

const TIMEOUT_MS = 15_000
const MAX_CHAIN = 8

export function openCollectorClient({ credentials, world, clock }: CollectorClientOptions): CollectorClient {
  const closing = new AbortController()
  let agent = openAgent()
  let turn = 0
  // A connection was judged in the world, and with the identity, of its beginning.
  const renew = (): void => {
    agent.destroy()
    agent = openAgent()
  }
  credentials.onRotate(renew)
  world.onChange((now, before) => {
    if (now.revocations !== before.revocations || now.bundles !== before.bundles) renew()
    return 0
  })

  const target = (endpoint: Endpoint): Target => {
    const { keyPem, chainPem } = credentials.current()
    const roots = world.current().bundles.get(world.current().trustDomain)?.roots ?? []
    return {
      ...TLS_FLOOR,
      host: endpoint.host,
      port: endpoint.port,
      agent,
      signal: closing.signal,
      key: keyPem,
      cert: chainPem,
      ca: roots.map((root) => root.toString()),
      checkServerIdentity: (_host, presented) =>
        whyNot(presented as DetailedPeerCertificate, endpoint.id, world.current(), clock.now()),
    }
  }

  const ask = async (ledgerId: string, shipment: Shipment | null): Promise<number> => {
    const endpoints = collectorsIn(world.current())
    const endpoint = endpoints[turn % Math.max(1, endpoints.length)]
    if (endpoint === undefined) throw new Error('asked before a collector is known')
    const path = `/v1/ledgers/${ledgerId}`
    const common = {
      read: READ_SHIP_ACK,
      what: 'shipment',
      timeoutMs: TIMEOUT_MS,
      unreachable: 'COLLECTOR_UNREACHABLE' as const,
    }
    try {
      const ack = await requestJson(
        target(endpoint),
        shipment === null
          ? { ...common, method: 'GET', path }
          : { ...common, method: 'POST', path: `${path}/records`, body: shipment },
      )
      return ack.nextSeq
    } catch (error) {
      if (isMeshError(error, 'COLLECTOR_UNREACHABLE')) turn += 1
      throw error
    }
  }

  return {
    isKnown: () => collectorsIn(world.current()).length > 0,
    nextSeq: (ledgerId) => ask(ledgerId, null),
    ship: (ledgerId, firstSeq, records) =>
      ask(ledgerId, {
        firstSeq,
        records: records.map(({ encoding, bytes }) => ({ encoding, bytes: bytes.toString('base64') })),
      }),
    close() {
      closing.abort()
      agent.destroy()
    },
  }
}

/** One connection, no session kept: each is judged whole. */
const openAgent = (): https.Agent => new https.Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })

function collectorsIn(world: World): Endpoint[] {
  return [...world.endpoints]
    .filter(([id]) => meaningOf(id).kind === 'collector')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, endpoints]) => endpoints)
}

/** Node calls this only after its own verification found nothing. */
function whyNot(
  presented: DetailedPeerCertificate,
  exactly: SpiffeId,
  { bundles, revocations }: World,
  now: number,
): Error | undefined {
  try {
    const chain = chainOf(presented)
    verifyPeer({ chain, tlsAuthorized: true, bundles, revocations, expected: { exactly }, now })
    return undefined
  } catch (error) {
    return error instanceof Error ? error : new Error('not judged')
  }
}

/** What Node's types leave out: a chain may end without its root. */
interface Presented {
  readonly raw: Buffer
  readonly issuerCertificate?: Presented
}

function chainOf(presented: Presented): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next: Presented | undefined = presented
  while (next !== undefined && chain.length < MAX_CHAIN) {
    const { raw }: Presented = next
    if (chain.some((each) => each.raw.equals(raw))) break
    chain.push(new X509Certificate(raw))
    next = next.issuerCertificate
  }
  return chain
}
