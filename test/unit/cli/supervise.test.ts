import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Program, type Ready, supervise } from '../../../cli/supervise.js'
import { systemClock } from '../../../host/clock.js'
import { isMeshError } from '../../../mesh/errors.js'

/** A child as `ca serve` is one: tells its passphrase, its port and its pid, then lives until it is told to stop. */
const CHILD = `
const { readFileSync } = require('node:fs')
const passphrase = readFileSync(3, 'utf8')
console.error('log of ' + passphrase)
console.log(JSON.stringify({ address: String(process.pid), port: 1234, given: process.argv[2] }))
process.stdin.on('end', () => process.exit(0)).resume()
setInterval(() => {}, 1000)
`

describe('a supervised program', () => {
  let dir: string
  let script: string
  const stop = { current: new AbortController() }

  beforeEach(() => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'troth-'))
    script = path.join(dir, 'child.cjs')
    writeFileSync(script, CHILD)
    stop.current = new AbortController()
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  function program(ready: (ready: Ready) => void, logged: string[] = []): Program {
    return {
      name: 'child',
      args: (port) => [script, String(port)],
      passphrase: 'secret',
      onReady: ready,
      onLog: (line) => logged.push(line),
      onRestart: () => undefined,
    }
  }

  it('gets its passphrase through a pipe, is started again when it dies, on the same port, and stops with us', async () => {
    const readies: (Ready & { given?: string })[] = []
    const logged: string[] = []
    let again: () => void = () => undefined
    const restarted = new Promise<void>((resolve) => {
      again = resolve
    })
    const { done } = await supervise(
      program((ready) => {
        readies.push(ready)
        if (readies.length === 2) again()
      }, logged),
      systemClock,
      stop.current.signal,
    )
    process.kill(Number(readies[0]?.address), 'SIGKILL')
    await restarted
    expect(readies[1]?.address).not.toBe(readies[0]?.address)
    expect(readies.map(({ given }) => given)).toEqual(['0', '1234'])
    expect(logged).toContain('log of secret')
    stop.current.abort()
    await done
    expect(() => process.kill(Number(readies[1]?.address), 0)).toThrow()
  })

  it('whose first start fails is told with the error it printed', async () => {
    writeFileSync(
      script,
      `console.error(JSON.stringify({ type: 'https://troth.dev/errors#PORT_BUSY', code: 'PORT_BUSY', detail: '127.0.0.1:1 is taken' })); process.exitCode = 3`,
    )
    const failure = await supervise(
      program(() => undefined),
      systemClock,
      stop.current.signal,
    ).catch((error: unknown) => error)
    expect(isMeshError(failure, 'PORT_BUSY')).toBe(true)
  })

  it('that dies without a word is COMMAND_FAILED', async () => {
    writeFileSync(script, 'process.exitCode = 1')
    const failure = await supervise(
      program(() => undefined),
      systemClock,
      stop.current.signal,
    ).catch((error: unknown) => error)
    expect(isMeshError(failure, 'COMMAND_FAILED')).toBe(true)
  })
})
