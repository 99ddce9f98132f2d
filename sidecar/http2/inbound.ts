// Frames as they arrive, each judged by where its stream and its connection stand (RFC 9113 §5.1, §6). A fault of a stream ends the stream,
// any other the connection; what comes for nothing is paid for (budget.ts).

import { H2 } from '../http/stream-error.js'
import type { Core } from './core.js'
import { malformed, violation } from './errors.js'
import type { FrameHeader, FrameSink } from './frame-reader.js'
import { checkFrame, PRIORITY_BYTES } from './frame-rules.js'
import { FLAG, FRAME, readUint31, readUint32 } from './frames.js'
import { HeaderBlocks } from './header-block.js'
import type { Messages } from './messages.js'
import { readSettings } from './settings.js'
import type { Stream } from './stream.js'

/** What the connection's owner hears that no stream is concerned with. */
export interface UpkeepEvents {
  onPong(payload: Buffer): void
  /** @param lastStreamId the last of our streams that the peer has looked at */
  onGoaway(lastStreamId: number, code: number): void
}

export class Inbound implements FrameSink {
  readonly #core: Core
  readonly #messages: Messages
  readonly #upkeep: UpkeepEvents
  readonly #blocks: HeaderBlocks
  #hasSettings = false
  #isAcknowledged = false
  /** The stream that the DATA at hand is for; null when it is thrown away. */
  #target: Stream | null = null
  /** Body in the frame at hand: the rest of its length is padding. */
  #frameBytes = 0

  constructor(core: Core, messages: Messages, upkeep: UpkeepEvents) {
    this.#core = core
    this.#messages = messages
    this.#upkeep = upkeep
    this.#blocks = new HeaderBlocks(core.limits.maxHeaderListBytes)
  }

  /** The peer has acknowledged our SETTINGS. */
  get isAcknowledged(): boolean {
    return this.#isAcknowledged
  }

  /** The stream whose head is not whole, 0 for none. */
  get openBlock(): number {
    return this.#blocks.open
  }

  onFrameHeader(frame: FrameHeader): void {
    if (!this.#hasSettings && (frame.type !== FRAME.SETTINGS || (frame.flags & FLAG.ACK) !== 0))
      throw violation(H2.PROTOCOL_ERROR, 'the first frame is not SETTINGS')
    checkFrame(frame, this.#core.limits.maxFrameBytes, this.#blocks.open)
    if (frame.type === FRAME.DATA) this.#beginData(frame)
  }

  onFrame(frame: FrameHeader, bytes: Buffer, start: number, end: number): void {
    switch (frame.type) {
      case FRAME.HEADERS: {
        const block = this.#blocks.begin(frame, bytes, start, end)
        if (block !== null) this.#messages.onBlock(block)
        break
      }
      case FRAME.CONTINUATION: {
        const block = this.#blocks.proceed(frame, bytes, start, end)
        if (block !== null) this.#messages.onBlock(block)
        break
      }
      case FRAME.WINDOW_UPDATE:
        this.#onWindowUpdate(frame.streamId, readUint31(bytes, start))
        break
      case FRAME.RST_STREAM:
        this.#onReset(frame.streamId, readUint32(bytes, start))
        break
      case FRAME.SETTINGS:
        this.#onSettings(frame, bytes.subarray(start, end))
        break
      case FRAME.PING:
        this.#onPing(frame, bytes.subarray(start, end))
        break
      case FRAME.GOAWAY:
        this.#upkeep.onGoaway(readUint31(bytes, start), readUint32(bytes, start + 4))
        break
      case FRAME.PRIORITY:
        this.#onPriority(frame, bytes, start)
        break
      default:
        this.#core.spendUpkeep()
    }
    this.#core.checkBacklog()
  }

  #beginData(frame: FrameHeader): void {
    const core = this.#core
    core.charge(frame.length)
    this.#frameBytes = 0
    this.#target = this.#targetOf(frame)
  }

  #targetOf(frame: FrameHeader): Stream | null {
    const core = this.#core
    const stream = core.streams.get(frame.streamId)
    if (stream === undefined) {
      const fate = core.streams.fateOf(frame.streamId)
      if (fate === 'idle') throw violation(H2.PROTOCOL_ERROR, 'DATA on an idle stream')
      if (fate === 'closed') throw violation(H2.STREAM_CLOSED, 'DATA on a closed stream')
      return null
    }
    if (stream.remote === 'closed')
      core.failStream(stream, violation(H2.STREAM_CLOSED, 'DATA behind the end of a message'))
    else if (stream.remote === 'head') core.failStream(stream, malformed('DATA before the head'))
    else if (frame.length > stream.receiveWindow)
      core.failStream(
        stream,
        violation(H2.FLOW_CONTROL_ERROR, 'more was sent than the window of the stream allows'),
      )
    else {
      stream.receiveWindow -= frame.length
      return stream
    }
    return null
  }

  onData(_frame: FrameHeader, bytes: Buffer, start: number, end: number): void {
    const stream = this.#target
    const length = end - start
    this.#frameBytes += length
    if (stream === null || stream.isAbandoned || !this.#messages.takes(stream, length)) {
      this.#core.credit(length)
      return
    }
    stream.heldBytes += length
    stream.sink.onData(bytes.subarray(start, end))
  }

  onDataEnd(frame: FrameHeader): void {
    const stream = this.#target
    this.#target = null
    const padding = frame.length - this.#frameBytes
    if (padding > 0) this.#core.credit(padding)
    const isEnd = (frame.flags & FLAG.END_STREAM) !== 0
    if (this.#frameBytes === 0 && !isEnd) this.#core.spendUpkeep()
    if (stream === null || stream.isAbandoned) {
      if (isEnd) this.#core.streams.settle(frame.streamId)
      return
    }
    if (padding > 0) this.#core.creditStream(stream, padding)
    if (isEnd) this.#messages.onEnd(stream)
  }

  #onReset(streamId: number, code: number): void {
    const { streams } = this.#core
    const stream = streams.get(streamId)
    if (stream !== undefined) {
      this.#core.resetByPeer(stream, code)
      return
    }
    if (streams.fateOf(streamId) === 'idle')
      throw violation(H2.PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
    streams.settle(streamId)
    this.#core.spendUpkeep()
  }

  #onWindowUpdate(streamId: number, increment: number): void {
    const core = this.#core
    core.spendWindowUpdate()
    if (streamId === 0) {
      if (increment === 0) throw violation(H2.PROTOCOL_ERROR, 'WINDOW_UPDATE of nothing')
      core.sender.bodies.widenConnection(increment)
      core.sender.wake()
      return
    }
    const stream = core.streams.get(streamId)
    if (stream === undefined) {
      if (core.streams.fateOf(streamId) === 'idle')
        throw violation(H2.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
      return
    }
    if (increment === 0) core.failStream(stream, violation(H2.PROTOCOL_ERROR, 'WINDOW_UPDATE of nothing'))
    else if (core.sender.bodies.widenStream(stream, increment)) core.sender.wake()
    else core.failStream(stream, violation(H2.FLOW_CONTROL_ERROR, 'a window is larger than 2^31-1'))
  }

  /** Priorities are ignored (RFC 9113 §5.3.2); what cannot be one is not. */
  #onPriority(frame: FrameHeader, bytes: Buffer, start: number): void {
    this.#core.spendUpkeep()
    const { streamId, length } = frame
    const error =
      length !== PRIORITY_BYTES
        ? violation(H2.FRAME_SIZE_ERROR, 'PRIORITY has the wrong length')
        : readUint31(bytes, start) === streamId
          ? violation(H2.PROTOCOL_ERROR, 'a stream depends on itself')
          : null
    if (error === null) return
    const stream = this.#core.streams.get(streamId)
    if (stream !== undefined) this.#core.failStream(stream, error)
    // There is no stream that could be reset.
    else throw error
  }

  #onSettings(frame: FrameHeader, payload: Buffer): void {
    const core = this.#core
    core.spendUpkeep()
    if ((frame.flags & FLAG.ACK) !== 0) {
      if (this.#isAcknowledged) return
      this.#isAcknowledged = true
      this.#blocks.decoder.limitTable(core.limits.headerTableBytes)
      core.onSettingsAck()
      return
    }
    const before = core.peer
    const after = readSettings(before, payload, core.role === 'client' ? 'server' : 'client')
    this.#hasSettings = true
    core.peer = after
    core.sender.applyPeer(after.maxFrameBytes, after.headerTableBytes)
    core.sender.bodies.shiftWindows(core.streams.all(), after.initialWindowBytes - before.initialWindowBytes)
    core.sender.settingsAck()
    core.events.onSettings()
    core.announceCapacity()
  }

  #onPing(frame: FrameHeader, payload: Buffer): void {
    this.#core.spendUpkeep()
    if ((frame.flags & FLAG.ACK) === 0) this.#core.sender.pingAck(payload)
    else this.#upkeep.onPong(payload)
  }
}
