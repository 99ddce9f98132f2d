// A callee under attack by a peer whose leaf is right, and a caller that wants to be served meanwhile. The attacker speaks HTTP/2 by hand
// over mutual TLS to the callee's ingress.

import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import type { Identity } from '../../member/identity/credentials.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { ACK, codeOf, type Frame, HELLO, PREFACE, parseFrames, ping } from './http2-raw.js'
import type { ManualClock } from './manual-clock.js'
import { connectTls } from './raw-http.js'
import type { TestApp } from './sse.js'
import { identityOf, type TestMesh, type TestSidecar } from './start-mesh.js'

export const SIEGE_POLICY = `
version: 1
agents:
  - id: agent/planner
    scopes: [tickets:read]
  - id: agent/mallory
    scopes: [tickets:read]
  - id: agent/trudy
    scopes: [tickets:read]
services:
  - id: agent/tickets
    operations:
      - match: { method: GET, path: /tickets/** }
        scope: tickets:read
      - match: { method: POST, path: /tickets/** }
        scope: tickets:read
`

export interface Siege {
  readonly tickets: TestSidecar
  /** Wants to be served. */
  readonly planner: TestSidecar
  /** Attacks. */
  readonly mallory: Identity
}

/** @param clock of the callee; without one, time is real */
export async function openSiege(mesh: TestMesh, app: TestApp, clock?: ManualClock): Promise<Siege> {
  return {
    tickets: await mesh.start('tickets', { app: app.place, ...(clock === undefined ? {} : { clock }) }),
    planner: await mesh.start('planner'),
    mallory: identityOf(await issueLeaf(mesh.hierarchy, mesh.id('mallory'))),
  }
}

export const head = (method: string, path = '/tickets/attack') =>
  [
    [':method', method],
    [':scheme', 'https'],
    [':path', path],
    [':authority', 'tickets.mesh'],
  ] as const

export interface Attack {
  readonly first?: Buffer
  readonly next: (turn: number) => Buffer
}

/** What an attacker would send if nobody stopped it. */
const MOST_TURNS = 60_000
const TURNS_AT_ONCE = 50

/** A connection to the ingress, and all that it says. */
export class Attacker {
  readonly #socket: TLSSocket
  readonly #heard: Buffer[] = []
  readonly over: Promise<void>

  constructor(socket: TLSSocket) {
    this.#socket = socket
    this.over = new Promise((resolve) => void socket.once('close', () => resolve()))
    socket.on('error', () => undefined).on('data', (bytes: Buffer) => void this.#heard.push(bytes))
    this.send(PREFACE, HELLO)
  }

  get frames(): Frame[] {
    return parseFrames(Buffer.concat(this.#heard))
  }

  /** The code of the last GOAWAY. */
  get farewell(): number | undefined {
    const last = this.frames.findLast(({ type }) => type === FRAME.GOAWAY)
    return last === undefined ? undefined : codeOf(last)
  }

  get isOver(): boolean {
    return this.#socket.destroyed || !this.#socket.writable
  }

  send(...parts: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(parts))
  }

  /** Sends a PING, and what is to be read together with it; resolves when the PING is answered. */
  async sendAndKnow(...parts: readonly Buffer[]): Promise<void> {
    const pongs = (): number =>
      this.frames.filter(({ type, flags }) => type === FRAME.PING && flags === ACK).length
    const before = pongs()
    this.send(ping('measures'), ...parts)
    while (pongs() === before) await once(this.#socket, 'data')
  }

  /** Resolves when this holds of what was heard. */
  async until(holds: (frames: Frame[]) => boolean): Promise<void> {
    while (!holds(this.frames)) await once(this.#socket, 'data')
  }

  /** As fast as it can, until it is let go. */
  async attack({ first, next }: Attack): Promise<void> {
    if (first !== undefined) this.send(first)
    for (let turn = 0; turn < MOST_TURNS && !this.isOver; turn += TURNS_AT_ONCE) {
      this.send(...Array.from({ length: TURNS_AT_ONCE }, (_, nth) => next(turn + nth)))
      await new Promise((resolve) => void setImmediate(resolve))
    }
    if (!this.isOver) this.#socket.destroy()
    await this.over
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

export async function openAttacker(
  mesh: TestMesh,
  { tickets }: Pick<Siege, 'tickets'>,
  who: Identity,
): Promise<Attacker> {
  const socket = await connectTls(tickets.ports.ingress, who, {
    ca: mesh.hierarchy.rootPem,
    servername: 'tickets.mesh',
    ALPNProtocols: ['h2'],
  })
  return new Attacker(socket)
}
