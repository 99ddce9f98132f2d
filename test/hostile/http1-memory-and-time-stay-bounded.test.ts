// What a hostile peer can make a connection of HTTP/1.1 hold or do: each attack sends, or asks for, many times more than may be kept.

import { expect, it } from 'vitest'
import { ClientTalk, ServerTalk } from '../support/http1-talk.js'
import { heldBytes } from '../support/memory.js'

const MEGABYTE = 1024 * 1024
const START = 'GET / HTTP/1.1\r\nHost: a\r\n'
const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'

/** CPU time of this process in milliseconds. */
const cpu = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

it('a head that never ends is held up to its limit, then refused', () => {
  const talk = new ServerTalk().feed(START)
  let sent = START.length
  for (; talk.connection.phase !== 'closing'; sent += 1000) talk.feed(`X: ${'y'.repeat(995)}\r\n`)
  expect(sent).toBeLessThanOrEqual(66 * 1024)
  expect(talk.lines).toEqual(['refused CALL_HEAD_TOO_LARGE', 'close CALL_HEAD_TOO_LARGE'])
})

it('thousands of slow heads cost what they have sent, not more', () => {
  const before = heldBytes()
  const talks = Array.from({ length: 2000 }, () => {
    const talk = new ServerTalk()
    for (const octet of START) talk.feed(octet)
    return talk
  })
  expect(heldBytes() - before).toBeLessThan(2000 * 24 * 1024)
  expect(talks.every(({ connection }) => connection.phase === 'head')).toBe(true)
})

it('a head that comes byte by byte is searched once, not once a byte', () => {
  const talk = new ServerTalk()
  const head = Buffer.from(`${START}X: ${'y'.repeat(60_000)}\r\n\r\n`)
  const before = cpu()
  for (let at = 0; at < head.length; at++) talk.connection.feed(head.subarray(at, at + 1))
  expect(cpu() - before).toBeLessThan(1500)
  expect(talk.heads.length).toBe(1)
})

it('a head that is made to be hard to read is read in linear time', () => {
  const before = cpu()
  for (const filling of [
    `X: ${' '.repeat(60_000)}y`,
    `X: ${'\t '.repeat(30_000)}`,
    `Connection: ${',x'.repeat(30_000)}`,
    `Connection: ${', '.repeat(30_000)}`,
    `${'!'.repeat(60_000)}: y`,
    `Host: ${'a'.repeat(60_000)}`,
    `Upgrade: ${'a,'.repeat(30_000)}`,
    'a:\r\n'.repeat(15_000).trimEnd(),
  ])
    for (const end of ['\r\n\r\n', '\0\r\n\r\n']) new ServerTalk().feed(START + filling + end)
  expect(cpu() - before).toBeLessThan(1500)
})

it('a body that nobody consumes stops the reading at its window', () => {
  const talk = new ServerTalk({ serve: () => ({}), consume: false })
  talk.feed('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n')
  const piece = Buffer.alloc(16_384)
  let sent = 0
  for (; !talk.wire.isPaused; sent += piece.length) talk.connection.feed(piece)
  expect(sent).toBeLessThanOrEqual(256 * 1024 + piece.length)
})

it('a body of tiny chunks reaches its reader in large pieces', () => {
  let pieces = 0
  const talk = new ServerTalk({
    serve: () => ({
      onData: () => {
        pieces += 1
      },
    }),
  }).feed(CHUNKED)
  const read = Buffer.from('1\r\na\r\n'.repeat(10_000))
  talk.connection.feed(read)
  expect(talk.lines).toEqual([expect.stringMatching('^POST'), `data ${'a'.repeat(10_000)}`])
  expect(pieces).toBeLessThanOrEqual(3)
})

it('a chunk of a size with endless digits, or with an extension, is refused at once', () => {
  for (const start of ['0'.repeat(13), 'f'.repeat(13), '1;', '1 '])
    expect(new ServerTalk().feed(CHUNKED + start).lines.at(-1)).toBe('close CALL_MALFORMED')
})

it('trailers that never end are held up to their limit, then refused', () => {
  const talk = new ServerTalk().feed(`${CHUNKED}0\r\n`)
  let sent = 0
  for (; talk.connection.phase !== 'closing'; sent += 1000) talk.feed(`X: ${'y'.repeat(995)}\r\n`)
  expect(sent).toBeLessThanOrEqual(17 * 1024)
  expect(talk.lines.at(-1)).toBe('close CALL_HEAD_TOO_LARGE')
})

it('a flood of pipelined requests is not read while one is being served', () => {
  const talk = new ServerTalk({ serve: () => ({}) })
  let sent = 0
  for (; !talk.wire.isPaused; sent++) talk.feed(`${START}\r\n`)
  expect(sent).toBeLessThanOrEqual(1000)
  expect(talk.heads.length).toBe(1)
})

it('a peer that asks and never reads the answers is asked for no more', () => {
  const talk = new ServerTalk({
    serve: (stream) => {
      stream.respond({ status: 200, fields: ['x', 'y'.repeat(1000)] }, 'nothing')
      return {}
    },
  })
  const flood = Buffer.from(`${START}\r\n`.repeat(500))
  for (let times = 0; times < 20 && !talk.wire.isPaused; times++) {
    talk.connection.feed(flood)
    talk.connection.flush()
  }
  expect(talk.wire.isPaused).toBe(true)
  expect(talk.heads.length).toBeLessThan(100)
  const { length } = talk.heads
  talk.settle()
  expect(talk.heads.length).toBeGreaterThan(length)
  expect(talk.wire.isPaused).toBe(false)
})

it('a download that nobody reads is made to wait: its writer is told so at once', () => {
  const talk = new ServerTalk({ serve: () => ({}) }).feed(`${START}\r\n`)
  talk.stream.respond({ status: 200, fields: [] }, 'more')
  let written = 0
  while (talk.stream.write(Buffer.alloc(16_384))) written += 16_384
  expect(written).toBeLessThanOrEqual(64 * 1024)
})

it('a connection that has moved much and is idle keeps none of it', () => {
  const talks = Array.from({ length: 200 }, () => new ServerTalk({ serve: () => ({}) }))
  const exchange = (talk: ServerTalk): void => {
    talk.feed(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`)
    talk.stream.respond({ status: 200, fields: ['content-length', '100000'] }, 'more')
    talk.stream.end(Buffer.alloc(100_000))
    talk.settle()
    talk.wire.output = ''
    talk.lines.length = 0
  }
  const before = heldBytes()
  for (const talk of talks) exchange(talk)
  expect(talks.every(({ connection }) => connection.phase === 'idle')).toBe(true)
  // Twice 128 KiB each would be 50 MB.
  expect(heldBytes() - before).toBeLessThan(4 * MEGABYTE)
})

it('an answer that never comes to its head is bounded for a client too', () => {
  const endless = new ClientTalk()
  endless.send()
  endless.feed('HTTP/1.1 200 OK\r\n')
  let sent = 0
  for (; endless.lines.length === 0; sent += 1000) endless.feed(`X: ${'y'.repeat(995)}\r\n`)
  expect(sent).toBeLessThanOrEqual(66 * 1024)
  const chatty = new ClientTalk()
  chatty.send()
  for (let times = 0; times < 1000; times++) chatty.feed('HTTP/1.1 102 Processing\r\n\r\n')
  expect(chatty.lines.length).toBeLessThanOrEqual(102)
  expect(chatty.lines.at(-1)).toBe('close CALL_MALFORMED')
})
