// Files that must never be half written or readable by others: atomic writes, secrets in 0600 files inside 0700 directories,
// and the lock that makes one state directory one process.

import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { isMeshError, MeshError } from '../mesh/errors.js'

/**
 * Makes sure of the directory: created (with its parents) with mode 0700; one that other users could write to is closed to them.
 * @throws MeshError STATE_PERMISSIONS | STATE_UNREADABLE
 */
export function makePrivateDir(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new MeshError('STATE_UNREADABLE', `${dir} cannot be created`, { cause: error })
  }
  const { mode } = statSync(dir)
  if ((mode & 0o022) === 0) return
  try {
    chmodSync(dir, mode & 0o700)
  } catch (error) {
    throw new MeshError('STATE_PERMISSIONS', `${dir} can be written by other users`, {
      cause: error,
      hint: `chmod 700 ${dir}`,
    })
  }
}

/** Writes the whole file or nothing: temporary file, fsync, rename, fsync of the directory. */
export function writeFileAtomic(file: string, content: string | Uint8Array, mode: 0o600 | 0o644): void {
  const temporary = `${file}.${process.pid}.tmp`
  rmSync(temporary, { force: true })
  try {
    // Created anew, so that a left-over of wider mode never holds a secret.
    const descriptor = openSync(temporary, 'wx', mode)
    try {
      writeFileSync(descriptor, content)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    chmodSync(temporary, mode)
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
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

/**
 * The file's text, or undefined when there is none.
 * @throws MeshError STATE_UNREADABLE
 */
export function readIfThere(file: string): string | undefined {
  try {
    return readState(file)
  } catch (error) {
    if (isMeshError(error, 'CONFIG_MISSING')) return undefined
    throw error
  }
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
    if (takeLock(file)) return { release: () => rmSync(file, { force: true }) }
    const holder = readIfThere(file)
    if (holder !== undefined && isAlive(holder)) throw inUse(dir, holder)
    dropDeadLock(dir, file)
  }
  throw new MeshError('STATE_IN_USE', `${dir} is being taken by another process`)
}

/** Creates the lock with its content in one step (link), so that nobody ever reads a lock without a holder. */
function takeLock(file: string): boolean {
  const own = `${file}.${process.pid}`
  try {
    writeFileSync(own, `${process.pid} ${startTimeOf(process.pid)}\n`, { mode: 0o600 })
    linkSync(own, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw new MeshError('STATE_UNREADABLE', `${path.dirname(file)} cannot be locked`, { cause: error })
  } finally {
    rmSync(own, { force: true })
  }
}

/** Moves the lock away and looks at it once more: another process may have taken it since it was found dead. */
function dropDeadLock(dir: string, file: string): void {
  const away = `${file}.${process.pid}.dead`
  try {
    renameSync(file, away)
  } catch {
    return
  }
  const holder = readIfThere(away) ?? ''
  const alive = isAlive(holder)
  if (alive) renameSync(away, file)
  rmSync(away, { force: true })
  if (alive) throw inUse(dir, holder)
}

const inUse = (dir: string, holder: string): MeshError =>
  new MeshError('STATE_IN_USE', `${dir} is in use by process ${holder.split(' ')[0] ?? ''}`)

/**
 * When the process started, in clock ticks since boot: tells a living holder from a later process with the same pid. Empty off Linux,
 * and for one that is dead already and only waits for its parent to look.
 */
function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may itself hold parentheses and spaces; what follows the last one is fixed.
    const [state = '', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return 'ZX'.includes(state) ? '' : (rest[18] ?? '')
  } catch {
    return ''
  }
}

/** `holder`: what a lock holds, `<pid> <start time>`. */
function isAlive(holder: string): boolean {
  const [digits = '', startedAt = ''] = holder.trim().split(' ')
  const pid = Number(digits)
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return startTimeOf(pid) === startedAt
}
