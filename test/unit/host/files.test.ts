import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  lockDir,
  makePrivateDir,
  readIfThere,
  readSecret,
  readState,
  writeFileAtomic,
  writeSecret,
} from '../../../host/files.js'
import type { MeshError } from '../../../mesh/errors.js'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'th-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const at = (name: string): string => path.join(dir, name)
const modeOf = (file: string): number => statSync(file).mode & 0o777
const refusal = (code: string): MeshError => expect.objectContaining({ code }) as MeshError

/** A pid that no process has any more. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', ''])
  await once(child, 'exit')
  return child.pid ?? 0
}

describe('a private directory', () => {
  it('is made with its parents, for the owner alone', () => {
    makePrivateDir(at('a/b'))
    expect([modeOf(at('a')), modeOf(at('a/b'))]).toEqual([0o700, 0o700])
  })

  it('that others could write to is closed to them', () => {
    mkdirSync(at('open'))
    chmodSync(at('open'), 0o777)
    makePrivateDir(at('open'))
    expect(modeOf(at('open'))).toBe(0o700)
  })

  it('that others can only read keeps its mode', () => {
    mkdirSync(at('read'))
    chmodSync(at('read'), 0o755)
    makePrivateDir(at('read'))
    expect(modeOf(at('read'))).toBe(0o755)
  })

  it('cannot be made where a file stands', () => {
    writeFileSync(at('file'), '')
    expect(() => makePrivateDir(at('file/x'))).toThrow(refusal('STATE_UNREADABLE'))
  })
})

describe('an atomic write', () => {
  it('replaces the whole file and leaves nothing beside it', () => {
    writeFileAtomic(at('f'), 'a long first content', 0o644)
    writeFileAtomic(at('f'), Buffer.from('second'), 0o644)
    expect(readFileSync(at('f'), 'utf8')).toBe('second')
    expect(readdirSync(dir)).toEqual(['f'])
  })

  it('that fails leaves the old content and nothing beside it', () => {
    mkdirSync(at('f'))
    writeFileSync(at('f/kept'), 'old')
    expect(() => writeFileAtomic(at('f'), 'new', 0o600)).toThrow()
    expect(readFileSync(at('f/kept'), 'utf8')).toBe('old')
    expect(readdirSync(dir)).toEqual(['f'])
  })

  it('is not held up by what a killed process left half written', () => {
    writeFileSync(at(`f.${process.pid}.tmp`), 'half', { mode: 0o666 })
    writeSecret(at('f'), 'whole')
    expect(readFileSync(at('f'), 'utf8')).toBe('whole')
    expect(modeOf(at('f'))).toBe(0o600)
    expect(readdirSync(dir)).toEqual(['f'])
  })
})

describe('a state file', () => {
  it('that is a secret comes back when only its owner can read it', () => {
    writeSecret(at('key'), 'secret')
    expect(readSecret(at('key'))).toBe('secret')
  })

  it.each([0o640, 0o604, 0o660])('that is a secret is refused with mode %o', (mode) => {
    writeSecret(at('key'), 'secret')
    chmodSync(at('key'), mode)
    expect(() => readSecret(at('key'))).toThrow(refusal('STATE_PERMISSIONS'))
  })

  it('that is not there is missing, or undefined where it may be', () => {
    expect(() => readState(at('none'))).toThrow(refusal('CONFIG_MISSING'))
    expect(() => readSecret(at('none'))).toThrow(refusal('CONFIG_MISSING'))
    expect(readIfThere(at('none'))).toBeUndefined()
  })

  it('that is a directory cannot be read', () => {
    expect(() => readState(dir)).toThrow(refusal('STATE_UNREADABLE'))
    expect(() => readIfThere(dir)).toThrow(refusal('STATE_UNREADABLE'))
  })
})

describe('the lock of a state directory', () => {
  it('is held by one, and free after its release', () => {
    const lock = lockDir(dir)
    expect(() => lockDir(dir)).toThrow(refusal('STATE_IN_USE'))
    expect(readdirSync(dir)).toEqual(['lock'])
    lock.release()
    lockDir(dir).release()
    expect(readdirSync(dir)).toEqual([])
  })

  it('is held for another living process, which is named', () => {
    const start = readFileSync(`/proc/${process.ppid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')[19]
    writeFileSync(at('lock'), `${process.ppid} ${start ?? ''}\n`)
    expect(() => lockDir(dir)).toThrow(String(process.ppid))
    expect(existsSync(at('lock'))).toBe(true)
  })

  it('is taken over after its holder died', async () => {
    writeFileSync(at('lock'), `${await deadPid()} 1\n`)
    const lock = lockDir(dir)
    expect(readFileSync(at('lock'), 'utf8')).toMatch(new RegExp(`^${process.pid} `))
    lock.release()
  })

  it('is taken over from a holder that was killed and not yet looked at by its parent', async () => {
    // its parent becomes a sleep, which never looks at its children
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [printed] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = printed.toString().trim()
    const fields = (): string[] =>
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ')
    await vi.waitFor(() => expect(fields()[0]).toBe('Z'), { timeout: 10_000 })
    writeFileSync(at('lock'), `${pid} ${fields()[19] ?? ''}\n`)
    lockDir(dir).release()
    parent.kill('SIGKILL')
  })

  it.each([
    ['of a later process with the same pid', `${process.pid} 1\n`],
    ['that was never written', ''],
    ['that is damaged', '\u0000\u0000'],
  ])('%s is taken over', (_what, content) => {
    writeFileSync(at('lock'), content)
    lockDir(dir).release()
  })

  it('in a directory that is not there fails with a code', () => {
    expect(() => lockDir(at('none'))).toThrow(refusal('STATE_UNREADABLE'))
  })
})
