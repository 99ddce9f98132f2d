// One tunnel to a host outside the mesh that the operator allowed by name: recorded like a call, then bytes both ways. Nobody is judged at
// its far end; what it carries, TLS as a rule, is between the agent and that host.

import type { Socket } from 'node:net'
import type { Timer } from '../../host/clock.js'
import { NOBODY } from '../../mesh/audit-record.js'
import { asMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import { partyOf } from '../../mesh/svid.js'
import { checkStanding } from '../call/authorize.js'
import { Exchange } from '../call/exchange.js'
import type { AnswerHead, Exchanged, ExchangeOwner } from '../call/exchange-contract.js'
import { Account, endedWith } from '../call/outcome.js'
import { answerProblem } from '../call/problem-answer.js'
import type { Unread } from '../call/unread.js'
import type { Connection } from '../connections.js'
import type { RawFields, RequestHead } from '../http/message.js'
import type { HttpStream } from '../http/stream.js'
import type { StreamError } from '../http/stream-error.js'
import type { Parts } from '../parts.js'
import { SocketWire } from '../transport/socket-wire.js'
import { isMeshHost } from './address.js'
import { connectOutside } from './outside.js'
import { TunnelStream } from './tunnel-stream.js'

/** At once, of one identity. */
const MAX_TUNNELS = 1024

/** Where tunnels may lead, and how many there are. */
export class Tunnels {
  readonly #allowed: ReadonlySet<string>
  /** The one that asks included. */
  running = 0

  /** @param allowed `host:port`, lower case */
  constructor(allowed: ReadonlySet<string>) {
    this.#allowed = allowed
  }

  /**
   * @param authority lower case
   * @throws MeshError CONNECT_REFUSED | CALLEE_BUSY
   */
  check(authority: string): void {
    const shown = authority.slice(0, 120)
    if (!this.#allowed.has(authority))
      throw new MeshError('CONNECT_REFUSED', `this sidecar opens no tunnel to ${shown}`, {
        hint: `to allow it, write into config.yaml of its home, behind what stands there: egress.tunnels: ${shown}`,
      })
    if (this.running > MAX_TUNNELS)
      throw new MeshError('CALLEE_BUSY', `${MAX_TUNNELS} tunnels are open`, { hint: 'end some first' })
  }
}

/** What CONNECT to the mesh itself is answered, whatever is allowed. @throws MeshError CONNECT_REFUSED */
export function refuseMeshHost(authority: string): void {
  if (!isMeshHost(authority)) return
  throw new MeshError(
    'CONNECT_REFUSED',
    `${authority.slice(0, 120)} is called by http://, not through a tunnel`,
    { hint: 'call http://<callee>.mesh/path through this proxy: the sidecars encrypt' },
  )
}

export class TunnelOut implements ExchangeOwner {
  readonly exchange: Exchange
  readonly awaitsContinue = false
  readonly #parts: Parts
  readonly #tunnels: Tunnels
  readonly #near: HttpStream
  readonly #account: Account
  #head: RequestHead | undefined
  #authority = ''
  #connection: Connection | undefined
  #deadline: Timer | undefined
  /** How it ended before the decision was committed. */
  #early: Exchanged | undefined

  constructor(parts: Parts, tunnels: Tunnels, near: HttpStream) {
    this.#parts = parts
    this.#tunnels = tunnels
    this.#near = near
    this.#account = new Account(parts.books, parts.ids.next(parts.clock.now()), 'egress')
    this.exchange = new Exchange(near, this, parts.limits, parts.sweep)
    parts.inFlight.begin()
    tunnels.running += 1
  }

  /** Turned away before it was decided: answered here, counted by the door. */
  refuse(error: MeshError): void {
    this.exchange.abandon()
    answerProblem(this.#near, error)
    this.#leave()
  }

  /** @param authority `host:port` as the operator allowed it */
  start(head: RequestHead, authority: string): void {
    const { credentials } = this.#parts
    this.#head = head
    this.#authority = authority
    const denial = this.#denial()
    const entry = {
      caller: partyOf(credentials.current().svid),
      callerKind: 'agent',
      callee: NOBODY,
      operation: `CONNECT ${authority}`,
      scope: null,
      decision: denial === undefined ? 'permit' : 'deny',
      reason: denial?.code ?? 'OK',
      rule: 'config.yaml egress.tunnels',
      grant: null,
      policyVersion: null,
      traceparent: null,
    } as const
    this.#account.decided(entry, (error) => this.#onDecided(error ?? denial))
  }

  #denial(): MeshError | undefined {
    try {
      checkStanding(this.#parts.standing())
      return undefined
    } catch (error) {
      return asMeshError(error)
    }
  }

  #onDecided(error: MeshError | undefined): void {
    if (error !== undefined) this.#answer(error)
    else if (this.#early !== undefined) this.#conclude(this.#early)
    else this.#connect()
  }

  #connect(): void {
    const { clock, connections, limits } = this.#parts
    const socket = connectOutside(this.#authority)
    this.#connection = connections.register(socket, 'egress')
    this.#deadline = clock.after(limits.connectTimeoutMs, () =>
      socket.destroy(new Error(`no connection within ${limits.connectTimeoutMs} ms`)),
    )
    socket.on('error', this.#onFailed)
    socket.on('close', this.#onClosed)
    socket.once('connect', () => {
      this.#deadline?.cancel()
      socket.off('error', this.#onFailed).off('close', this.#onClosed)
      this.#forward(socket)
    })
  }

  #forward(socket: Socket): void {
    const { turn, sweep } = this.#parts
    if (this.#head === undefined) return
    const stream = new TunnelStream(new SocketWire(socket, turn, sweep), sweep)
    this.exchange.forward(stream, this.#head)
    stream.begin()
  }

  readonly #onFailed = (cause: NodeJS.ErrnoException): void => {
    if (cause instanceof MeshError) this.#answer(cause)
    else
      this.#answer(
        new MeshError(
          'CALLEE_UNREACHABLE',
          `${this.#authority} is not reached: ${cause.code ?? cause.message}`,
          {
            cause,
            hint: 'see whether this host reaches it without the sidecar',
          },
        ),
      )
  }

  /** Behind every error too. */
  readonly #onClosed = (): void => {
    this.#deadline?.cancel()
    const code = this.cutReason()
    if (code !== undefined) this.#answer(new MeshError(code, 'the tunnel was cut'))
  }

  /** The sidecar answers itself. */
  #answer(error: MeshError): void {
    if (this.exchange.isOver) {
      if (this.#early !== undefined) this.#conclude(this.#early)
      return
    }
    this.exchange.abandon()
    const status = answerProblem(this.#near, error, { extras: { callId: this.#account.callId } })
    this.#account.ended(endedWith(error.code, status))
    this.#leave()
  }

  #conclude({ outcome, reason, status, error }: Exchanged): void {
    const { bytesIn, bytesOut } = this.exchange
    const { callId } = this.#account
    const told = error === null ? status : answerProblem(this.#near, error, { extras: { callId } })
    this.#account.ended({ outcome, reason, status: told, bytesIn, bytesOut })
    this.#leave()
  }

  #leave(): void {
    this.#tunnels.running -= 1
    this.#parts.inFlight.end()
  }

  // What the exchange asks and tells.

  get unread(): Unread {
    return this.#parts.unread
  }

  exchanged(exchanged: Exchanged): void {
    if (!this.#account.isDecided) {
      this.#early = exchanged
      return
    }
    const socket = this.#connection?.socket
    if (socket?.connecting === true) socket.destroy()
    this.#conclude(exchanged)
  }

  cutReason(): MeshErrorCode | undefined {
    return this.#connection?.cutReason
  }

  lost(cause: StreamError): MeshError {
    return new MeshError('CALLEE_UNREACHABLE', `the connection to ${this.#authority} was lost`, { cause })
  }

  /** A tunnel has no fields but those of its head. */
  passing(): RawFields {
    return []
  }

  readAnswer(): AnswerHead {
    return { fields: ['x-troth-call-id', this.#account.callId], denied: null }
  }
}
