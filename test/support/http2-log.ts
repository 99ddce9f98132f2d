// Sinks and events that write down what they hear, in words that a test can compare.

import type { RequestHead } from '../../sidecar/http/message.js'
import type { ResponseSink } from '../../sidecar/http/stream.js'
import type { ConnectionEvents, Http2Stream, ServerEvents } from '../../sidecar/http2/contract.js'

export interface Heard {
  readonly lines: string[]
  readonly sink: ResponseSink
}

/** @param consume true to give every piece back at once */
export function listen(streamOf: () => Http2Stream | undefined, consume = true): Heard {
  const lines: string[] = []
  return {
    lines,
    sink: {
      onInterim: ({ status }) => lines.push(`interim ${status}`),
      onHead: ({ status, fields }) => lines.push(`head ${status} ${fields.join(' ')}`.trim()),
      onData: (bytes) => {
        lines.push(`data ${bytes.toString('latin1')}`)
        if (consume) streamOf()?.consume(bytes.length)
      },
      onTrailers: (fields) => lines.push(`trailers ${fields.join(' ')}`),
      onEnd: () => lines.push('end'),
      onReset: ({ code, h2 }) => lines.push(`reset ${code} ${h2}`),
      onDrain: () => lines.push('drain'),
    },
  }
}

export interface HeardEvents {
  readonly lines: string[]
  readonly events: ConnectionEvents
}

export function listenTo(): HeardEvents {
  const lines: string[] = []
  return {
    lines,
    events: {
      onSettings: () => lines.push('settings'),
      onRefused: ({ code, h2 }, id) => lines.push(`refused ${id} ${code} ${h2}`),
      onGoaway: (code) => lines.push(`goaway ${code}`),
      onCapacity: () => lines.push('capacity'),
      onClose: (error) => lines.push(error === undefined ? 'close' : `close ${error.code} ${error.h2}`),
    },
  }
}

export interface Taken {
  readonly stream: Http2Stream
  readonly head: RequestHead
  readonly heard: string[]
}

/** A server that does nothing by itself. */
export function takeRequests(consume = true): HeardEvents & { taken: Taken[]; events: ServerEvents } {
  const { lines, events } = listenTo()
  const taken: Taken[] = []
  return {
    lines,
    taken,
    events: {
      ...events,
      onRequest: (stream, head) => {
        const heard = listen(() => stream, consume)
        taken.push({ stream, head, heard: heard.lines })
        return heard.sink
      },
    },
  }
}
