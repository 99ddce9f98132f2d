import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { openPassing } from '../../../ca/passing.js'
import { manualClock } from '../../support/manual-clock.js'

let ports = 0
function from(remoteAddress: string): Socket {
  ports += 1
  const socket = new EventEmitter()
  const destroy = (): void => void socket.emit('close')
  return Object.assign(socket, { remoteAddress, remotePort: ports, destroy }) as unknown as Socket
}

it('one host is one, whichever address of its IPv6 network it takes', () => {
  const passing = openPassing(manualClock(0))
  const entered = (address: (index: number) => string): number =>
    Array.from({ length: 200 }, (_, index) => passing.enter(from(address(index)))).filter(Boolean).length
  expect(entered((index) => `2001:db8:1:2::${(index + 1).toString(16)}`)).toBe(128)
  expect(entered((index) => `2001:db8:1:3:${index.toString(16)}::1`)).toBe(128)
  expect(entered(() => '::ffff:10.0.0.1')).toBe(128)
  expect(passing.enter(from('10.0.0.1'))).toBe(false)
})

it('has room again when they are gone, have become feeds, or were there too long', () => {
  const clock = manualClock(0)
  const passing = openPassing(clock)
  const sockets = Array.from({ length: 128 }, () => from('2001:db8::1'))
  for (const socket of sockets) expect(passing.enter(socket)).toBe(true)
  expect(passing.enter(from('2001:db8::2'))).toBe(false)
  sockets[0]?.emit('close')
  if (sockets[1] !== undefined) passing.stay(sockets[1])
  expect([1, 2, 3].map(() => passing.enter(from('2001:db8::2')))).toEqual([true, true, false])
  clock.advance(60_000)
  expect(passing.enter(from('2001:db8::2'))).toBe(true)
})
