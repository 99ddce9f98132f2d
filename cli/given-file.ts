// Files that the user named on the command line: what is wrong with one is mended by naming another, not by a backup or an init.

import { readState } from '../host/files.js'
import { isMeshError, MeshError } from '../mesh/errors.js'

/**
 * The text of a file that was named.
 * @param hint what to do when it cannot be read
 * @throws MeshError CONFIG_MISSING | STATE_UNREADABLE
 */
export function readGiven(file: string, hint: string): string {
  try {
    return readState(file)
  } catch (error) {
    if (isMeshError(error)) throw new MeshError(error.code, error.message, { cause: error, hint })
    throw error
  }
}
