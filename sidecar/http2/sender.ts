// Everything that leaves a connection: heads, bodies by turns, and the frames of its upkeep. Owns the outbox and its one outstanding write.
// What is written within a turn leaves together, when the user calls `flush`.

import type { RawFields, RequestHead, ResponseHead } from '../http/message.js'
import type { Follows } from '../http/stream.js'
import type { Wire } from '../http/wire.js'
import { DataScheduler, type SchedulerEvents } from './data-scheduler.js'
import { CLIENT_PREFACE, DEFAULT_MAX_FRAME_BYTES, FLAG, FRAME, FRAME_HEADER_BYTES } from './frames.js'
import { BLOCK_OVERHEAD_BYTES, boundOf, boundOfAll, HpackEncoder } from './hpack/encoder.js'
import { Outbox } from './outbox.js'
import type { Stream } from './stream.js'

const NOTHING = new Uint8Array()

export interface SenderEvents extends SchedulerEvents {
  /** A write was handed over, or has ended. */
  onHandedOver(): void
  onWritten(): void
}

export class Sender {
  readonly #wire: Wire
  readonly #events: SenderEvents
  readonly #outbox = new Outbox()
  readonly #encoder = new HpackEncoder('plain')
  readonly bodies: DataScheduler
  #maxFrameBytes = DEFAULT_MAX_FRAME_BYTES
  #isScheduled = false
  #isWriting = false
  /** `ending`: what is in the outbox is the last of it. */
  #end: 'open' | 'ending' | 'ended' = 'open'
  /** Bytes of the outbox that are neither heads nor bodies. */
  #answerBytes = 0

  constructor(wire: Wire, events: SenderEvents) {
    this.#wire = wire
    this.#events = events
    this.bodies = new DataScheduler(this.#outbox, events)
  }

  /** Answers to the peer's own frames that it has not taken yet. */
  get answerBytes(): number {
    return this.#answerBytes
  }

  /** Everything that waits for the next write. */
  get backlogBytes(): number {
    return this.#outbox.length
  }

  applyPeer(maxFrameBytes: number, headerTableBytes: number): void {
    this.#maxFrameBytes = maxFrameBytes
    this.bodies.maxFrameBytes = maxFrameBytes
    this.#encoder.limitTable(headerTableBytes)
  }

  request(streamId: number, head: RequestHead, follows: Follows): void {
    const { method, scheme, authority, path, protocol, fields } = head
    const pseudo: (readonly [string, string])[] = [[':method', method]]
    if (scheme !== '') pseudo.push([':scheme', scheme])
    if (path !== '') pseudo.push([':path', path])
    pseudo.push([':authority', authority])
    if (protocol !== null) pseudo.push([':protocol', protocol])
    this.#block(streamId, pseudo, fields, follows)
  }

  response(streamId: number, head: ResponseHead, follows: Follows): void {
    this.#block(streamId, [[':status', String(head.status)]], head.fields, follows)
  }

  trailers(streamId: number, fields: RawFields): void {
    this.#block(streamId, [], fields, 'nothing')
  }

  #block(
    streamId: number,
    pseudo: readonly (readonly [string, string])[],
    fields: RawFields,
    follows: Follows,
  ): void {
    let bound = BLOCK_OVERHEAD_BYTES + boundOfAll(fields)
    for (const [name, value] of pseudo) bound += boundOf(name, value)
    const at = this.#outbox.reserve(bound)
    const encoder = this.#encoder
    encoder.begin(this.#outbox.buffer, at)
    for (const [name, value] of pseudo) encoder.pseudo(name, value)
    encoder.fields(fields)
    const length = encoder.finish() - at
    const flags = follows === 'nothing' ? FLAG.END_STREAM : 0
    if (length <= this.#maxFrameBytes)
      this.#outbox.seal(FRAME.HEADERS, flags | FLAG.END_HEADERS, streamId, length)
    else this.#sealInPieces(streamId, flags, Buffer.from(this.#outbox.buffer.subarray(at, at + length)))
    this.wake()
  }

  /** A block that is larger than a frame goes on in CONTINUATION (RFC 9113 §6.10). */
  #sealInPieces(streamId: number, flags: number, block: Buffer): void {
    const size = this.#maxFrameBytes
    for (let at = 0; at < block.length; at += size) {
      const type = at === 0 ? FRAME.HEADERS : FRAME.CONTINUATION
      const end = at + size >= block.length ? FLAG.END_HEADERS : 0
      this.#outbox.frame(type, (at === 0 ? flags : 0) | end, streamId, block.subarray(at, at + size))
    }
  }

  data(stream: Stream, bytes: Uint8Array): boolean {
    const isSent = this.bodies.write(stream, bytes)
    this.wake()
    return isSent
  }

  /** Ends a body of which nothing is left: with its last frame while that has not gone, else with an empty one. */
  endData(streamId: number): void {
    if (this.#outbox.endLast(streamId)) return
    this.#outbox.frame(FRAME.DATA, FLAG.END_STREAM, streamId, NOTHING)
    this.wake()
  }

  preface(role: 'client' | 'server', settings: Uint8Array): void {
    if (role === 'client') this.#outbox.raw(CLIENT_PREFACE)
    this.#outbox.frame(FRAME.SETTINGS, 0, 0, settings)
    this.wake()
  }

  settingsAck(): void {
    this.#answer(FRAME.SETTINGS, FLAG.ACK, NOTHING)
  }

  pingAck(payload: Uint8Array): void {
    this.#answer(FRAME.PING, FLAG.ACK, payload)
  }

  ping(payload: Uint8Array): void {
    this.#outbox.frame(FRAME.PING, 0, 0, payload)
    this.wake()
  }

  #answer(type: number, flags: number, payload: Uint8Array): void {
    this.#outbox.frame(type, flags, 0, payload)
    this.#answerBytes += FRAME_HEADER_BYTES + payload.length
    this.wake()
  }

  reset(streamId: number, code: number): void {
    this.#numbers(FRAME.RST_STREAM, streamId, code)
  }

  windowUpdate(streamId: number, increment: number): void {
    this.#numbers(FRAME.WINDOW_UPDATE, streamId, increment)
  }

  goaway(lastStreamId: number, code: number): void {
    this.#numbers(FRAME.GOAWAY, 0, lastStreamId, code)
  }

  #numbers(type: number, streamId: number, first: number, second?: number): void {
    this.#outbox.numbers(type, streamId, first, second)
    this.#answerBytes += FRAME_HEADER_BYTES + 8
    this.wake()
  }

  wake(): void {
    if (this.#isScheduled || this.#isWriting || this.#end === 'ended') return
    this.#isScheduled = true
    this.#wire.schedule()
  }

  /** Nothing more will be written; the wire is closed behind what is in the outbox. */
  end(): void {
    if (this.#end !== 'open') return
    this.#end = 'ending'
    this.wake()
  }

  /** Nothing more can be written. */
  stop(): void {
    this.#end = 'ended'
  }

  /** The transport will take nothing more, and is to be closed. */
  abort(): void {
    if (this.#end === 'ended') return
    this.stop()
    this.#wire.close()
  }

  flush(): void {
    this.#isScheduled = false
    if (this.#isWriting || this.#end === 'ended') return
    if (this.#end === 'open') this.bodies.fill()
    if (this.#outbox.length === 0) {
      if (this.#end === 'ending') this.#close()
      return
    }
    this.#isWriting = true
    this.#answerBytes = 0
    const bytes = this.#outbox.take()
    this.#events.onHandedOver()
    this.#wire.write(bytes)
    this.bodies.callDrained()
  }

  written(): void {
    this.#isWriting = false
    this.#outbox.giveBack()
    this.#events.onWritten()
    if (this.#outbox.length > 0 || this.bodies.isReady || this.#end === 'ending') this.flush()
  }

  #close(): void {
    this.#end = 'ended'
    this.#wire.close()
  }
}
