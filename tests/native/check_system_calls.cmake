# cmake -DNM=nm -DLIBRARY=libpmemstore_core.a -DLIST=system_calls.txt -P check_system_calls.cmake
#
cmake_minimum_required(VERSION 3.20)

# Does the core call what the list has, and nothing else?
execute_process(COMMAND ${NM} -u ${LIBRARY} OUTPUT_VARIABLE text RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${NM} -u ${LIBRARY}: ${failed}")
endif()
string(REGEX MATCHALL "[ \t][UwW] [A-Za-z_][A-Za-z0-9_]*" names "${text}")
list(TRANSFORM names REPLACE "^[ \t][UwW] " "")
list(REMOVE_DUPLICATES names)
list(FILTER names EXCLUDE REGEX "^pms_") # our own, in another file of the library

file(STRINGS ${LIST} lines REGEX "^(wrap|pass|match) ")
foreach(line IN LISTS lines)
  string(REGEX MATCH "^([a-z]+) ([^ ]+)(.*)" matched "${line}")
  set(kind ${CMAKE_MATCH_1})
  set(name "${CMAKE_MATCH_2}")
  if(NOT kind STREQUAL "wrap" AND CMAKE_MATCH_3 STREQUAL "")
    message(SEND_ERROR "${name}: no reason given")
  elseif(kind STREQUAL "match")
    list(FILTER names EXCLUDE REGEX "${name}")
  elseif(name IN_LIST names)
    list(REMOVE_ITEM names ${name})
  elseif(NOT kind STREQUAL "pass") # the compiler may have made memory functions of its own
    message(SEND_ERROR "${name} is wrapped, and the core does not call it")
  endif()
endforeach()
if(names)
  list(JOIN names ", " names)
  message(SEND_ERROR "the core calls ${names}: let inject.c wrap them, or say in the list why not")
endif()
