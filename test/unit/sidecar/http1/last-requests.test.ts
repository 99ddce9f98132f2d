import { describe, expect, it } from 'vitest'
import { OK, ServerTalk, type ServerTalkOptions } from '../../../support/http1-talk.js'

const LATER: ServerTalkOptions = { serve: () => ({}) }
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n'
const LAST = `${GET}Connection: close\r\n\r\n`

/** Answers what has come, behind the read that brought it. */
function answer(talk: ServerTalk): ServerTalk {
  talk.stream.respond({ status: 200, fields: ['content-length', '2'] }, 'more')
  talk.stream.end(OK)
  return talk.settle()
}

const ends = ({ wire }: ServerTalk): { isClosed: boolean; isLeft: boolean } => ({
  isClosed: wire.isClosed,
  isLeft: wire.isLeft,
})

describe('a connection behind its last answer', () => {
  it.each<[what: string, input: string]>([
    ['said so', LAST],
    ['has a body', 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab'],
    ['speaks HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
  ])('is left at once when the client %s', (_, input) => {
    const talk = answer(new ServerTalk(LATER).feed(input))
    expect(talk.wire.output).toMatch(/connection: close\r\n\r\nok$/)
    expect(ends(talk)).toEqual({ isClosed: true, isLeft: true })
    expect(talk.lines.at(-1)).toBe('close')
  })

  it('is left once the kernel has all of a long answer, not before', () => {
    const talk = new ServerTalk(LATER).feed(LAST)
    talk.stream.respond({ status: 200, fields: [] }, 'more')
    talk.stream.end(Buffer.alloc(100_000))
    talk.connection.flush()
    expect([talk.wire.isOutstanding, talk.wire.isClosed]).toEqual([true, false])
    expect(ends(talk.settle())).toEqual({ isClosed: true, isLeft: true })
  })

  it('waits for what comes when the client sent something behind its last request all the same', () => {
    const talk = answer(new ServerTalk(LATER).feed(`${LAST}${GET}\r\n`))
    expect(ends(talk)).toEqual({ isClosed: true, isLeft: false })
    expect(talk.heads).toHaveLength(1)
  })

  it('waits for what comes when it was ours to close: a client may be about to send its next request', () => {
    const talk = new ServerTalk(LATER).feed(`${GET}\r\n`)
    talk.connection.drain()
    expect(ends(answer(talk))).toEqual({ isClosed: true, isLeft: false })
  })

  it('waits for what comes when the request was refused, or answered before it was whole', () => {
    const refused = new ServerTalk(LATER).feed(`${GET}Connection: close\r\nBad Name: x\r\n\r\n`)
    expect(ends(refused.settle())).toEqual({ isClosed: true, isLeft: false })
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n'
    const early = answer(new ServerTalk(LATER).feed(`${head}ab`))
    expect(early.wire.isLeft).toBe(false)
  })
})
