/* The selection: either ticked tasks, or everything that matches except the unticked tasks. */

import { announce, find, page, words } from './page.js'

const MAX_TASKS = 5000 // in one selection

const ticked = new Set()
const excluded = new Set()
let everything = null // the query of the list that "everything" means; null if tasks are ticked one by one
let everythingCount = 0
let lastPicked = null

/** The checkboxes of the rows. */
export const boxes = () => [...document.querySelectorAll('#list tbody .pick input')]
const isPicked = (id) => (everything === null ? ticked.has(id) : !excluded.has(id))

export const count = () => (everything === null ? ticked.size : Math.max(0, everythingCount - excluded.size))

/** The fields that describe the selection to the server. */
export function selectionFields() {
  const fields = Object.fromEntries(new URLSearchParams(everything ?? find('#list').dataset.query))
  if (everything === null) return { ...fields, ids: [...ticked].join() }
  return { ...fields, everything: '1', excluded: [...excluded].join(), total: everythingCount }
}

// -- Changing it ---------------------------------------------------------------------------------------------------

function pick(box, on) {
  if (everything !== null) {
    if (on) excluded.delete(box.value)
    else excluded.add(box.value)
    return
  }
  if (!on) ticked.delete(box.value)
  else if (ticked.size < MAX_TASKS) ticked.add(box.value)
}

function pickPage(on) {
  for (const box of boxes()) pick(box, on)
  showSelection()
}

/** Tick or untick a box. With Shift, do it to all boxes between the last one and this one. */
function pickUpTo(box, isRange) {
  const all = boxes()
  const from = isRange && lastPicked ? all.findIndex((other) => other.value === lastPicked) : -1
  const to = all.indexOf(box)
  const range = from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1)
  for (const one of range) pick(one, box.checked)
  lastPicked = box.value
  showSelection()
}

export function clearSelection() {
  ticked.clear()
  excluded.clear()
  everything = null
  showSelection()
}

export function selectEverything() {
  everything = find('#list').dataset.query
  everythingCount = Number(find('#list').dataset.selectable)
  ticked.clear()
  excluded.clear()
  showSelection()
  find('[data-defer]').focus()
}

/** Select the page; if the whole page is selected already, select everything that matches. */
export function selectMore() {
  if (!find('#banner').hidden && everything === null) selectEverything()
  else pickPage(true)
}

document.addEventListener('click', (event) => {
  const box = event.target.closest('#list tbody .pick input')
  if (box) pickUpTo(box, event.shiftKey)
})

document.addEventListener('change', (event) => {
  if (event.target.id === 'pick-page') pickPage(event.target.checked)
})

// -- Showing it ----------------------------------------------------------------------------------------------------

/** Update the checkboxes, the banner and the bar of bulk actions. */
function showSelection() {
  const all = boxes()
  for (const box of all) box.checked = isPicked(box.value)
  const onPage = all.filter((box) => box.checked).length
  showHead(onPage, all.length)
  showBanner(all.length > 0 && onPage === all.length, all.length)
  showBar()
}

function showHead(picked, all) {
  const head = find('#pick-page')
  if (!head) return
  head.checked = picked > 0 && picked === all
  head.indeterminate = picked > 0 && picked < all
}

function showBanner(pageIsFull, onPage) {
  const banner = find('#banner')
  if (!banner) return
  const isOffered = everything === null && pageIsFull && Number(find('#list').dataset.total) > onPage
  const isConfirmed = everything !== null && excluded.size === 0
  banner.hidden = !isOffered && !isConfirmed
  banner.querySelector('[data-page-selected]').hidden = !isOffered
  banner.querySelector('[data-all-selected]').hidden = !isConfirmed
}

function showBar() {
  const bar = find('#bulk')
  if (!bar) return
  bar.hidden = count() === 0
  find('#count').textContent = words(page.selected, count())
  announce(bar.hidden ? '' : words(page.announced, count()))
}

// -- A new list ----------------------------------------------------------------------------------------------------

let shownQuery = null
let shownPage = null

/** The page shows a new list. Ticked tasks stay ticked; "everything" is cleared if the query has changed. */
function listArrived() {
  const list = find('#list')
  if (!list) return
  if (everything !== null && everything !== list.dataset.query) {
    clearSelection()
    announce(page.cleared)
  }
  if (shownQuery === null && list.dataset.ticked) {
    const box = boxes().find((other) => other.value === list.dataset.ticked)
    if (box) pick(box, true)
  }
  if (shownPage !== list.dataset.page) scrollToTop()
  shownPage = list.dataset.page
  shownQuery = list.dataset.query
  lastPicked = null
  showSelection()
}

function scrollToTop() {
  for (const scroller of document.querySelectorAll('#app, .scroll')) scroller.scrollTop = 0
}

document.addEventListener('htmx:beforeRequest', ({ detail }) => {
  if (detail.target.id === 'list') detail.target.setAttribute('aria-busy', 'true')
})

document.addEventListener('htmx:afterRequest', ({ detail }) => detail.target.removeAttribute('aria-busy'))
document.addEventListener('htmx:afterSettle', listArrived)

// The person may have ticked boxes before this script was loaded.
for (const box of boxes()) {
  if (box.checked || find('#pick-page').checked) pick(box, true)
}
listArrived()
