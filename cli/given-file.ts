// Files that the user named on the command line: what is wrong with one is mended by naming another, not by a backup or an init.

import { readState } from '../host/files.js'
import { isMeshError, MeshError } from '../mesh/errors.js'

/**
 * The text of a file that was named.
 * @param hint what to do when it cannot be read
 * @param read what reads it, and may want more of it
 * @throws MeshError CONFIG_MISSING | STATE_UNREADABLE
 */
export function readGiven(file: string, hint: string, read: (file: string) => string = readState): string {
  try {
    return read(file)
  } catch (error) {
    if (isMeshError(error, 'CONFIG_MISSING') || isMeshError(error, 'STATE_UNREADABLE'))
      throw new MeshError(error.code, error.message, { cause: error, hint })
    throw error
  }
}
