// Files that must never be half written or readable by others: atomic writes, secrets in 0600 files inside 0700 directories,
// and the lock that makes one state directory one process.

import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { MeshError } from '../mesh/errors.js'

/** Creates the directory (and its parents) with mode 0700. */
export function makePrivateDir(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
}

/** Writes the whole file or nothing: temporary file, fsync, rename, fsync of the directory. */
export function writeFileAtomic(file: string, content: string | Uint8Array, mode: 0o600 | 0o644): void {
  const temporary = `${file}.${process.pid}.tmp`
  const descriptor = openSync(temporary, 'w', mode)
  try {
    writeSync(descriptor, typeof content === 'string' ? Buffer.from(content) : content)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  chmodSync(temporary, mode)
  renameSync(temporary, file)
  const dir = openSync(path.dirname(file), 'r')
  try {
    fsyncSync(dir)
  } finally {
    closeSync(dir)
  }
}

/** A secret: owner only. */
export function writeSecret(file: string, content: string | Uint8Array): void {
  writeFileAtomic(file, content, 0o600)
}

/**
 * Reads a secret file.
 * @throws MeshError CONFIG_MISSING; STATE_PERMISSIONS when group or others may read it; STATE_UNREADABLE
 */
export function readSecret(file: string): string {
  const content = readState(file)
  if ((statSync(file).mode & 0o077) !== 0) {
    throw new MeshError('STATE_PERMISSIONS', `${file} can be read by other users`, {
      hint: `chmod 600 ${file}`,
    })
  }
  return content
}

/**
 * Reads a text file that must be there.
 * @throws MeshError CONFIG_MISSING | STATE_UNREADABLE
 */
export function readState(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new MeshError('CONFIG_MISSING', `${file} does not exist`)
    throw new MeshError('STATE_UNREADABLE', `${file} cannot be read`, { cause: error })
  }
}

/** The file's text, or undefined when there is none. */
export function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readState(file) : undefined
}

export interface Lock {
  release(): void
}

/**
 * Takes the state directory for this process until `release` or its death.
 * @throws MeshError STATE_IN_USE
 */
export function lockDir(dir: string): Lock {
  const file = path.join(dir, 'lock')
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const descriptor = openSync(file, 'wx', 0o600)
      writeSync(descriptor, `${process.pid} ${startTimeOf(process.pid)}\n`)
      closeSync(descriptor)
      return { release: () => rmSync(file, { force: true }) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw new MeshError('STATE_UNREADABLE', `${dir} cannot be locked`, { cause: error })
      const [pid = '', startedAt = ''] = (readIfThere(file) ?? '').trim().split(' ')
      if (isAlive(Number(pid), startedAt))
        throw new MeshError('STATE_IN_USE', `${dir} is in use by process ${pid}`)
      rmSync(file, { force: true })
    }
  }
  throw new MeshError('STATE_IN_USE', `${dir} is being taken by another process`)
}

/** When the process started, in clock ticks since boot: tells a living holder from a later process with the same pid. Empty off Linux. */
function startTimeOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

function isAlive(pid: number, startedAt: string): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return startTimeOf(pid) === startedAt
}
