// The way to the collector: one mutual TLS connection, made anew when the identity or the world changes. Node's verification is on,
// and the judge must find exactly the collector that the CA's feed names.

import { X509Certificate } from 'node:crypto'
import https from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import type { Stretch } from '../../host/audit-segments.js'
import type { Clock } from '../../host/clock.js'
import { type Content, requestJson, type Target } from '../../host/http-client.js'
import { TLS_FLOOR } from '../../host/tls.js'
import type { World, WorldHolder } from '../../member/control/world.js'
import type { Credentials } from '../../member/identity/credentials.js'
import { isMeshError } from '../../mesh/errors.js'
import { covers } from '../../mesh/revocation.js'
import { meaningOf, type SpiffeId } from '../../mesh/spiffe-id.js'
import type { Svid } from '../../mesh/svid.js'
import { verifyPeer } from '../../mesh/verify-peer.js'
import { formatShipmentPlace, READ_SHIP_ACK, SHIPMENT_TYPE } from '../../mesh/wire/audit.js'
import type { Endpoint } from '../../mesh/wire/feed.js'

export interface CollectorClient {
  /** False: the feed names no collector. */
  isKnown(): boolean
  /** How far the collector has this ledger. @throws MeshError COLLECTOR_UNREACHABLE, or what it answered */
  nextSeq(ledgerId: string): Promise<number>
  /** @returns the sequence number it wants next. @throws MeshError COLLECTOR_UNREACHABLE, or what it answered */
  ship(ledgerId: string, stretch: Stretch): Promise<number>
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

export function openCollectorClient(options: CollectorClientOptions): CollectorClient {
  const { world } = options
  const connection = openConnection(options)
  let turn = 0

  const ask = async (
    ledgerId: string,
    shipment: { query: string; content: Content } | null,
  ): Promise<number> => {
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
        connection.to(endpoint),
        shipment === null
          ? { ...common, method: 'GET', path }
          : {
              ...common,
              method: 'POST',
              path: `${path}/records?${shipment.query}`,
              content: shipment.content,
            },
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
    ship: (ledgerId, stretch) =>
      ask(ledgerId, {
        query: formatShipmentPlace(stretch),
        content: { type: SHIPMENT_TYPE, bytes: stretch.lines },
      }),
    close: () => connection.close(),
  }
}

interface Connection {
  /** How to reach that endpoint, and nobody else there. */
  to(endpoint: Endpoint): Target
  close(): void
}

function openConnection({ credentials, world, clock }: CollectorClientOptions): Connection {
  const closing = new AbortController()
  /** Whom the next connection must lead to, and whom the last one did. */
  let wanted: SpiffeId | undefined
  let judged: Svid | undefined
  // Node calls this only after its own verification found nothing.
  const check: NonNullable<ConnectionOptions['checkServerIdentity']> = (_host, presented) => {
    try {
      if (wanted === undefined) throw new Error('no collector was asked for')
      judged = judge(presented, wanted, world.current(), clock.now())
      return undefined
    } catch (error) {
      return error instanceof Error ? error : new Error('not judged')
    }
  }
  let agent = openAgent(check)
  const renew = (): void => {
    agent.destroy()
    agent = openAgent(check)
  }
  credentials.onRotate(renew)
  world.onChange((now, before) => {
    const isCondemned = judged !== undefined && covers(now.revocations, judged)
    if (isCondemned || now.bundles !== before.bundles) renew()
    return isCondemned ? 1 : 0
  })
  return {
    to({ host, port, id }) {
      wanted = id
      const { keyPem, chainPem } = credentials.current()
      const roots = world.current().bundles.get(world.current().trustDomain)?.roots ?? []
      return {
        ...TLS_FLOOR,
        host,
        port,
        agent,
        signal: closing.signal,
        key: keyPem,
        cert: chainPem,
        ca: roots.map((root) => root.toString()),
      }
    },
    close() {
      closing.abort()
      agent.destroy()
    },
  }
}

/** One connection, no session kept: each is judged whole. Given with a request, the check would end keep-alive on Node 24.21. */
const openAgent = (checkServerIdentity: ConnectionOptions['checkServerIdentity']): https.Agent =>
  new https.Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0, checkServerIdentity })

function collectorsIn(world: World): Endpoint[] {
  return [...world.endpoints]
    .filter(([id]) => meaningOf(id).kind === 'collector')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, endpoints]) => endpoints)
}

/** What Node's types leave out: a chain may end without its root. */
interface Presented {
  readonly raw: Buffer
  readonly issuerCertificate?: Presented
}

function judge(presented: Presented, exactly: SpiffeId, world: World, now: number): Svid {
  const { bundles, revocations } = world
  const chain = chainOf(presented)
  return verifyPeer({ chain, tlsAuthorized: true, bundles, revocations, expected: { exactly }, now })
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
