/* The connection: failed requests are reported, and repeated after a while. Polls pause while the page is hidden. */

import { repeatInDialog } from './dialog.js'
import { find } from './page.js'

const DELAYS = [1000, 2000, 5000, 10000, 30000] // milliseconds between attempts without a connection

let attempts = 0

document.addEventListener('htmx:beforeOnLoad', () => {
  attempts = 0
  find('#offline').hidden = true
})

document.addEventListener('htmx:sendError', ({ detail }) => {
  show(find('#offline'))
  repeatLater(detail.elt)
})

document.addEventListener('htmx:responseError', ({ detail }) => {
  if (isPoll(detail.elt) && detail.xhr.status >= 500) repeatLater(detail.elt)
  else show(find('#broken'))
})

const isPoll = (element) => element.matches('[data-poll]')

// -- The strips at the top -----------------------------------------------------------------------------------------

/** Show a strip at the top of the page, or of the dialog if it is open: the dialog covers the page. */
function show(strip) {
  const dialog = find('#dialog')
  const place = dialog?.open ? dialog : document.body
  if (strip.parentElement !== place) place.prepend(strip)
  strip.hidden = false
}

/** Move the strips back from the dialog to the page. */
function restoreStrips() {
  find('#broken').hidden = true
  document.body.prepend(find('#offline'), find('#broken'))
}

document.addEventListener('close', restoreStrips, true)

// -- Trying again --------------------------------------------------------------------------------------------------

function repeatLater(element) {
  const delay = DELAYS[Math.min(attempts, DELAYS.length - 1)]
  attempts += 1
  if (element.matches('#dialog, #dialog form')) {
    setTimeout(() => element.isConnected && find('#dialog').open && repeatInDialog(), delay)
  } else if (isPoll(element)) {
    triggerLater(element, 'poll', delay)
  } else if (element.closest('#list, #filter')) {
    triggerLater(find('#list'), 'refresh', delay)
  }
}

function triggerLater(element, name, delay) {
  setTimeout(() => element.isConnected && window.htmx.trigger(element, name), delay)
}

/** The person pressed "Try again" in the strip. */
export function tryAgain() {
  find('#broken').hidden = true
  if (find('#dialog')?.open) repeatInDialog()
  else window.htmx.trigger('#list', 'refresh')
}

// -- Polls of a hidden page ----------------------------------------------------------------------------------

document.addEventListener('htmx:beforeRequest', (event) => {
  if (document.hidden && isPoll(event.detail.elt)) event.preventDefault()
})

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return
  document.querySelectorAll('[data-poll]').forEach((poll) => window.htmx.trigger(poll, 'poll'))
})
